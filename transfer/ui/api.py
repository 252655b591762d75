"""What other programs may call, by name; everything else on the page is private."""

from pathlib import Path

import gradio as gr

from transfer.ui.runs import Runs, classifier
from transfer.ui.visitor import as_message


class Api:
    """The public endpoints, typed and documented as other programs see them."""

    def __init__(self, runs: Runs):
        self.runs = runs

    def offer(self) -> None:
        """Add the endpoints to the page that is being built."""
        gr.api(self.classify, api_name="classify", concurrency_limit=4)

    def classify(self, image: gr.FileData, run: str, top: int = 5) -> list[dict]:
        """The `top` best classes of an image by a run of this app: [{label, score}], best first."""
        with as_message():
            found = classifier(self.runs.path(run)).classify(Path(image["path"]), top)
        return [{"label": p.label, "score": p.score} for p in found]
