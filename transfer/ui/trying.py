"""What the Try it tab does: a visitor's picture through a finished run."""

from pathlib import Path

import gradio as gr

from transfer.errors import JobError
from transfer.image import load_image
from transfer.source.digits import as_digit
from transfer.ui.runs import Runs, classifier
from transfer.ui.visitor import as_message


class Trying:
    """Handlers over the runs; each checks its input, since anybody can post to it."""

    def __init__(self, runs: Runs):
        self.runs = runs

    def choices(self, visitor: str):
        """The runs that this visitor may use, newest first."""
        names = [path.name for path in self.runs.of(visitor)]
        return gr.Dropdown(choices=names, value=names[0] if names else None)

    def photo(self, visitor: str, run: str | None, photo: str | None):
        """Label → score of an upload; None while there is nothing to classify."""
        if not run or not photo:
            return None
        return self._answer(visitor, run, Path(photo))

    def drawing(self, visitor: str, run: str | None, drawing: dict | None):
        """Label → score of a drawing, brought into the form of the digits first."""
        with as_message():
            if not run:
                raise JobError("expected a run, found none; train on `digits` first, then draw")
            digit = as_digit(load_image((drawing or {}).get("composite")))
        return self._answer(visitor, run, digit)

    def _answer(self, visitor: str, run: str, picture) -> dict[str, float]:
        with as_message():
            found = classifier(self.runs.own_path(visitor, run)).classify(picture, top=5)
        return {p.label: p.score for p in found}
