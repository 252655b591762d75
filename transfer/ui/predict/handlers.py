"""What the Try it tab does: a visitor's pictures through a run, and why it says so."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from PIL import Image

from transfer.data.image import Picture, load_image
from transfer.data.local.digits import as_digit
from transfer.errors import ImageError, JobError, TransferError
from transfer.ui.predict import cards as show
from transfer.ui.shared.loaded_runs import EXAMPLE, LoadedRuns, cached_run, is_address

if TYPE_CHECKING:
    from transfer.inference.classifier import Classifier
    from transfer.inference.phase_comparison import Comparison

TOP = 5
PICTURES_AT_ONCE = 24
SECONDS_BETWEEN_UPDATES = 0.4
CLASSES_OFFERED = 100
VIEWS = {
    "answers": "Best classes",
    "heat": "What it looked at",
    "stages": "Compare the steps",
}
DIGITS = "digits"
Asked = list[tuple[str, "Path | Image.Image"]]
Card = Callable[[str, Picture], str]


class PredictHandlers:
    """Handlers over the runs; each checks its input, since anybody can post to it.

    `asked` is what was shown last, names with files or a drawing, so that it can be asked anew of
    another run or in another view; it stays on the server.
    """

    def __init__(self, runs: LoadedRuns):
        self.runs = runs

    def listed(self, visitor: str, run: str | None):
        """The runs that this visitor may use. The one that is chosen stays so, as does a model on
        the Hub; one that is gone gives way to the newest."""
        found = self.runs.choices(visitor)
        names = [name for _, name in found]
        if run in names or is_address(run):
            return gr.Dropdown(choices=found)
        return gr.Dropdown(choices=found, value=names[0], allow_custom_value=True)

    def newest(self, visitor: str, run: str | None, seen: list[str]):
        """([the run that is chosen, what comes in its place], the names of all runs).

        That is a run which came after those `seen`, at first the newest. Whatever a visitor has
        chosen before the first look stays, and a model on the Hub always.
        """
        names = [name for _, name in self.runs.choices(visitor)]
        stays = names[0] in seen if seen else run != EXAMPLE
        return [run, run if stays or is_address(run) else names[0]], names

    def chosen(self, visitor: str, run: str | None) -> Iterator[tuple]:
        """(what there is to say of a run, the classes to choose a heat map for)."""
        try:
            name = _named(run)
            if is_address(name):
                yield show.about(f"Opening {name[:200]} …"), gr.Dropdown()
            about, classes = self._about(visitor, name)
        except TransferError as error:
            yield show.about(str(error), warning=True), gr.Dropdown()
            return
        offered = [("the best one", ""), *((name[:80], name) for name in classes)]
        offered = offered[: CLASSES_OFFERED + 1]
        labels = gr.Dropdown(choices=offered, value="", allow_custom_value=True)
        yield show.about(about), labels

    def way_in(self, visitor: str, run: str | None) -> str:
        """To draw for runs on the digits, else photos."""
        return "draw" if self._on_digits(visitor, run) else "photos"

    def warm(self, visitor: str, run: str | None) -> None:
        """Have the run in memory before the first picture comes."""
        with suppress(TransferError):
            self.runs.classifier(visitor, _named(run))

    def photos(self, visitor, run, view, label, files: list[str] | None):
        """Answers for uploads, one after the other: (HTML, asked)."""
        asked = [(Path(file).name, Path(file)) for file in files or []]
        yield from self._shown(visitor, run, view, label, asked)

    def camera(self, visitor, run, view, label, picture: str | None):
        """The answer for a picture of the camera or the clipboard."""
        asked = [("your picture", Path(picture))] if picture else []
        yield from self._shown(visitor, run, view, label, asked)

    def drawing(self, visitor, run, view, label, drawing: Image.Image | None):
        """The answer for a drawing, dark on white."""
        try:
            drawn = load_image(drawing)
            as_digit(drawn)  # refuses an empty canvas
        except TransferError as error:
            yield show.sentence(str(error)), []
            return
        yield from self._shown(visitor, run, view, label, [("your drawing", drawn)])

    def again(self, visitor, run, view, label, asked: Asked):
        """What was asked last, of another run or in another view."""
        yield from self._shown(visitor, run, view, label, asked)

    def _shown(self, visitor, run, view, label, asked: Asked) -> Iterator[tuple[str, Asked]]:
        if not asked:
            yield show.EMPTY, []
            return
        try:
            card, key = self._view(visitor, _named(run), view, label)
            in_form = [(name, self._in_form(visitor, run, picture)) for name, picture in asked]
            for cards, note in _growing(card, in_form):
                yield show.answers(cards, note, key), asked
        except TransferError as error:
            yield show.sentence(str(error)), asked

    def _view(self, visitor: str, run: str, view: str, label: str) -> tuple[Card, str]:
        """(what makes a card of a picture, the key to them). Raises TransferError."""
        if view == "stages":
            stages = self.runs.comparison(visitor, run)
            return _stages_card(stages), ""
        classifier = self.runs.classifier(visitor, run)
        if view == "heat":
            return _heat_card(classifier, str(label or "") or None), show.legend()
        return _ranked_card(classifier), ""

    def _about(self, visitor: str, run: str) -> tuple[str, tuple[str, ...]]:
        """(a line about a run, its classes). Raises TransferError."""
        if is_address(run):
            classes = self.runs.classifier(visitor, run).classes
            return f"A model on the Hub with {len(classes):,} classes.", classes
        found = cached_run(self.runs.own_path(visitor, run))
        about = f"{len(found.classes):,} classes; {found.accuracy:.1%} of its test images are right"
        return f"{about}.", found.classes

    def _in_form(self, visitor: str, run: str, picture):
        """What a run on the digits is asked about a drawing is in their form, uint8 (8, 8)."""
        drawn = isinstance(picture, Image.Image)
        return as_digit(picture) if drawn and self._on_digits(visitor, run) else picture

    def _on_digits(self, visitor: str, run: str | None) -> bool:
        with suppress(TransferError):
            found = cached_run(self.runs.own_path(visitor, _named(run)))
            return found.record.get("source") == DIGITS
        return False


def _named(run: str | None) -> str:
    if not isinstance(run, str) or not run.strip():
        raise JobError("expected a run, found none; choose one, or type a Hub id like user/name")
    return run.strip()


def _growing(card: Card, asked: Asked) -> Iterator[tuple[list[str], str]]:
    """(cards, what is left), now and then while it grows and when it is whole."""
    cards, told = [], time.monotonic()
    for name, picture in asked[:PICTURES_AT_ONCE]:
        cards.append(card(name, picture))
        if time.monotonic() - told > SECONDS_BETWEEN_UPDATES:
            told = time.monotonic()
            yield cards, f"{len(cards)} of {len(asked)} pictures"
    left = len(asked) - len(cards)
    yield cards, f"{left} more: at most {PICTURES_AT_ONCE} at once" if left else ""


def _ranked_card(classifier: "Classifier") -> Card:
    def draw(name: str, image: Image.Image) -> str:
        return show.ranked_card(name, image, classifier.predict(classifier.prepare(image), TOP))

    return _readable(classifier, draw)


def _heat_card(classifier: "Classifier", label: str | None) -> Card:
    from transfer.inference.grad_cam import heat_map

    def draw(name: str, image: Image.Image) -> str:
        pixels = classifier.prepare(image)
        found, heat = classifier.predict(pixels, TOP), heat_map(classifier, pixels, label)
        return show.heat_card(name, image, found, heat)

    return _readable(classifier, draw)


def _stages_card(stages: "Comparison") -> Card:
    classifier = next(iter(stages.classifiers.values()))

    def draw(name: str, image: Image.Image) -> str:
        return show.stages_card(name, image, stages.predict(classifier.prepare(image), TOP))

    return _readable(classifier, draw)


def _readable(classifier: "Classifier", draw: Callable[[str, Image.Image], str]) -> Card:
    """What is no picture gets its sentence beside the others."""

    def card(name: str, picture: Picture) -> str:
        try:
            image = classifier.transform.load(picture)
        except ImageError as error:
            return show.unreadable_card(name, str(error))
        return draw(name, image)

    return card
