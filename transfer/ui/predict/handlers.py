"""What the third step does: classifies a visitor's pictures by a run, and shows why."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import gradio as gr
from PIL import Image

from transfer.data.image import load_image
from transfer.data.local.digits import as_digit
from transfer.errors import ImageError, JobError, TransferError
from transfer.ui.predict import cards
from transfer.ui.shared.components import advice_first, run_choices
from transfer.ui.shared.live_runs import LIVE
from transfer.ui.shared.loaded_runs import EXAMPLE, LoadedRuns, cached_run, is_address
from transfer.ui.shared.run_photos import Example

TOP, SIMILAR, MOST_EXAMPLES = 5, 6, 6
LAST_PHOTO = "Trying now: your last photo, as if it had not been learned"
LIVE_ABOUT = "{} classes, learned at once on the frozen body. Step 2 trains them properly."
MOST_PICTURES = 24  # at once
MOST_LABELS = 100  # to choose a heat map for
SECONDS_BETWEEN_UPDATES = 0.4
VIEWS = [
    ("Predictions", "predictions"),
    ("Where the model looked", "heat"),
    ("Similar photos", "similar"),
    ("Compare phases", "phases"),
]
Asked = list[tuple[str, "Path | Image.Image"]]  # names with files, or with a drawing


class PredictHandlers:
    """Each handler checks its input, since anybody can post to it.

    `asked` are the pictures shown last, so that they can be shown again by another run or in
    another view. They stay on the server.
    """

    def __init__(self, runs: LoadedRuns):
        self.runs = runs

    def listed(self, visitor: str, run: str | None) -> gr.Dropdown:
        """The runs this visitor may use; a model on the Hub stays selected."""
        choices = self.runs.choices(visitor)
        return gr.Dropdown(choices=choices) if is_address(run) else run_choices(choices, run)

    def newest(self, visitor: str, run: str | None, seen: list[str]):
        """([the selected run, the run to select instead], the ids of all runs).

        A run that is not among those `seen` gets selected, and at first the newest. A visitor's own
        choice before that stays, and a model on the Hub always does.
        """
        ids = [name for _, name in self.runs.choices(visitor)]
        stays = ids[0] in seen if seen else run != EXAMPLE
        return [run, run if stays or is_address(run) else ids[0]], ids

    def describe(self, visitor: str, run: str | None) -> Iterator[tuple]:
        """(a line about the run, the classes to choose a heat map for)."""
        try:
            name = _checked(run)
            if is_address(name):
                yield cards.about(f"Loading {name[:200]} …"), gr.Dropdown()
            text, classes = self._about(visitor, name)
        except TransferError as error:
            yield cards.about(advice_first(str(error)), "warning"), gr.Dropdown()
            return
        labels = [("best class", ""), *((name[:80], name) for name in classes[:MOST_LABELS])]
        yield cards.about(text), gr.Dropdown(choices=labels, value="", allow_custom_value=True)

    def taught(self, visitor: str) -> gr.Dropdown:
        """The visitor's classes as the run, as soon as they can answer."""
        if not self.runs.live.answers(visitor):
            return gr.skip()
        return gr.Dropdown(choices=self.runs.choices(visitor), value=LIVE)

    def input_tab(self, visitor: str, run: str | None) -> str:
        """Drawings for runs on the digits, otherwise photos."""
        return "draw" if self._is_on_digits(visitor, run) else "photos"

    def preload(self, visitor: str, run: str | None) -> None:
        """Load the run before the first picture comes."""
        with suppress(TransferError):
            self.runs.classifier(visitor, _checked(run))

    def ask(self, visitor, run, view, label, given: list[str] | str | Image.Image | None):
        """Classify files, one picture or a drawing: (HTML, asked), growing picture by picture."""
        try:
            asked = _pictures(given)
        except ImageError as error:
            yield cards.error(str(error)), []
            return
        yield from self.again(visitor, run, view, label, asked)

    def examples(self, visitor: str, run: str | None) -> str:
        """Pictures to click; empty where there are none."""
        try:
            return cards.examples(self._examples(visitor, run))
        except TransferError:  # shown where the run is described
            return ""

    def ask_example(self, visitor, run, view, label, clicked: gr.EventData):
        """The same as `ask` for the example that was clicked."""
        try:
            found, place = self._examples(visitor, run), _place(clicked)
            asked = [found[place]] if 0 <= place < len(found) else []
        except TransferError as error:
            yield cards.error(str(error)), []
            return
        yield from self.again(visitor, run, view, label, asked)

    def _examples(self, visitor: str, run: str | None) -> list[Example]:
        return self.runs.examples(visitor, _checked(run), MOST_EXAMPLES)

    def again(self, visitor, run, view, label, asked: Asked) -> Iterator[tuple[str, Asked]]:
        """The same for the pictures that were shown last. While classes are taught, one of their
        own photos takes the place of none."""
        if run == LIVE and (not asked or asked[0][0] == LAST_PHOTO):
            newest = self.runs.live.newest(visitor)
            asked = [(LAST_PHOTO, newest)] if newest else []
        if not asked:
            yield cards.EMPTY, []
            return
        try:
            made = self._cards(visitor, _checked(run), view, label, asked)
            legend = cards.legend() if view == "heat" else ""
            for shown, note in _growing(made, len(asked)):
                yield cards.page(shown, legend, note), asked
        except TransferError as error:
            yield cards.error(str(error)), asked

    def _cards(self, visitor: str, run: str, view: str, label: str, asked: Asked) -> Iterator[str]:
        """A card for each picture; a file that is not a picture gets a message among the others.

        Raises TransferError.
        """
        classifier = self.runs.classifier(visitor, run, [picture for _, picture in asked])
        phases = self.runs.comparison(visitor, run) if view == "phases" else None
        digits = self._is_on_digits(visitor, run)
        for name, picture in asked[:MOST_PICTURES]:
            drawn = digits and isinstance(picture, Image.Image)
            if drawn:
                picture = as_digit(picture)  # uint8 (8, 8), as such a run knows them
            try:
                image = classifier.transform.load(picture)
                pixels = classifier.prepare(image)  # float32 (1, 3, H, W)
            except ImageError as error:
                yield cards.unreadable_card(name, str(error))
                continue
            if phases:
                yield cards.phases_card(name, image, phases.predict(pixels, TOP))
                continue
            found = classifier.answer(pixels, TOP)
            if drawn:  # however well, it is unlike the scans that the run was trained on
                found = replace(found, known=None, familiarity=None)
            if view == "heat":
                from transfer.inference.grad_cam import heat_map

                heat = heat_map(classifier, pixels, str(label or "") or None)
                yield cards.heat_card(name, image, found.predictions, heat)
            elif view == "similar":
                names = classifier.most_similar(pixels, SIMILAR)
                photos = self.runs.photos(visitor, run, names)
                yield cards.similar_card(name, image, found, photos)
            else:
                yield cards.prediction_card(name, image, found)

    def _about(self, visitor: str, run: str) -> tuple[str, tuple[str, ...]]:
        """(a line about a run, its classes). Raises TransferError."""
        if run == LIVE:
            classes = self.runs.classifier(visitor, run).classes
            return LIVE_ABOUT.format(len(classes)), classes
        if is_address(run):
            classes = self.runs.classifier(visitor, run).classes
            return f"A model on the Hub with {len(classes):,} classes.", classes
        found = cached_run(self.runs.own_path(visitor, run))
        text = f"{len(found.classes):,} classes; test accuracy {found.accuracy:.1%}."
        return text, found.classes

    def _is_on_digits(self, visitor: str, run: str | None) -> bool:
        with suppress(TransferError):
            found = cached_run(self.runs.own_path(visitor, _checked(run)))
            return found.record.get("source") == "digits"
        return False


def _place(clicked: gr.EventData) -> int:
    """Which example it was; -1 where something else was posted."""
    with suppress(AttributeError, TypeError):
        if type(clicked.place) is int:
            return clicked.place
    return -1


def _checked(run: str | None) -> str:
    if not isinstance(run, str) or not run.strip():
        raise JobError("expected a run, found none; choose one, or type a Hub id like user/name")
    return run.strip()


def _pictures(given: list[str] | str | Image.Image | None) -> Asked:
    """Files, the picture of a camera or a drawing, with names. Raises ImageError."""
    if isinstance(given, list):
        return [(Path(file).name, Path(file)) for file in given]
    if isinstance(given, str):
        return [("your picture", Path(given))]
    if given is None:
        return []
    drawing = load_image(given)
    as_digit(drawing)  # raises ImageError for an empty canvas
    return [("your drawing", drawing)]


def _growing(made: Iterator[str], asked: int) -> Iterator[tuple[list[str], str]]:
    """(cards so far, a note), every SECONDS_BETWEEN_UPDATES and at the end."""
    shown, updated = [], time.monotonic()
    for card in made:
        shown.append(card)
        if time.monotonic() - updated > SECONDS_BETWEEN_UPDATES:
            updated = time.monotonic()
            yield shown, f"{len(shown)} of {asked} pictures"
    left = asked - len(shown)
    yield shown, f"{left} more pictures: at most {MOST_PICTURES} at once" if left else ""
