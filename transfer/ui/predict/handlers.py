"""What the third step does: classifies a visitor's pictures by a run, and shows why."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import gradio as gr
from anyio import CapacityLimiter

from transfer.cache.timed_cache import TimedCache
from transfer.errors import ImageError, JobError, TransferError
from transfer.formatting import LEAST_IN_PERCENT, accuracy_text
from transfer.inference.answer_table import write_table
from transfer.jobs.job import hashed
from transfer.jobs.run_photos import Example
from transfer.ui.predict import cards, pictures
from transfer.ui.predict.answering import TOP, Answering
from transfer.ui.predict.latest import Page, Step
from transfer.ui.predict.pictures import Asked, Question
from transfer.ui.shared.components import advice_first, run_choices
from transfer.ui.shared.downloads import SECONDS_A_FILE_STAYS, Downloads
from transfer.ui.shared.guard import posted
from transfer.ui.shared.live_runs import LIVE
from transfer.ui.shared.loaded_runs import EXAMPLE, LoadedRuns, cached_run, is_address
from transfer.ui.shared.session import as_message, require_visitor

MOST_EXAMPLES = 6
VISITORS_CACHED = 100
CLASSIFIED_AT_ONCE = 2  # pictures, since each uses all cores
LAST_PHOTO = "Trying now: your last photo, as if it had not been learned"
LIVE_ABOUT = "{} classes, learned at once on the frozen body. Step 2 trains them properly."
MOST_PICTURES, MOST_CARDS = 300, 6  # at once; more pictures than cards are shown in a table
MOST_LABELS = 100  # to choose a heat map for
SECONDS_BETWEEN_UPDATES, SHARE_BETWEEN_UPDATES = 0.4, 0.1  # whichever is longer; of the time so far
VIEWS = [
    ("Predictions", "predictions"),
    ("Where the model looked", "heat"),
    ("Similar photos", "similar"),
    ("Compare phases", "phases"),
    ("Table", "table"),
]


class PredictHandlers:
    """Each handler checks its input, since anybody can post to it.

    A page's pictures are known here, so that they can be shown again by another run or in another
    view, and saved as a table.
    """

    def __init__(self, runs: LoadedRuns):
        self.runs = runs
        self.downloads = Downloads()
        self._slots = CapacityLimiter(CLASSIFIED_AT_ONCE)
        self._last = TimedCache(VISITORS_CACHED, SECONDS_A_FILE_STAYS)  # by hashed visitor
        self.ask_files, self.ask_drawing = self._asks(pictures.files), self._asks(pictures.drawing)
        self.ask_photo, self.again = self._asks(pictures.photo), self._asks(lambda _: None)

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

    def corrections(self, visitor: str, run: str | None) -> tuple[gr.Row, gr.Dropdown]:
        """(the row where an answer is corrected, the classes), if the visitor teaches these."""
        names = self.runs.taught_classes(visitor, run or "")
        return gr.Row(visible=bool(names)), gr.Dropdown(choices=names, value=None)

    def input_tab(self, visitor: str, run: str | None) -> gr.Tabs:
        """Drawings for runs on the digits, otherwise photos."""
        return gr.Tabs(selected="draw" if self._is_on_digits(visitor, run) else "photos")

    def preload(self, visitor: str, run: str | None) -> None:
        """Load the run before the first picture comes; classes that are taught have one."""
        with suppress(TransferError):
            if run != LIVE:
                self.runs.classifier(visitor, _checked(run))

    def _asks(self, read: Callable[[object], Question | None]) -> Callable:
        """A handler that answers what the page posts: HTML that grows picture by picture."""

        async def ask(page, visitor, run, view, label, value=None):
            known = visitor, run, view, label
            async for html in self._ask(page, known, lambda: read(value)):
                yield html

        return ask

    async def restore(self, page, visitor, run, view, label):
        """(the files, the drawing, the answer) of what the visitor asked last on any page, as far
        as it still exists."""
        last = (self._last.get(hashed(visitor)) or Question([])).existing()
        yield last.files or gr.skip(), last.drawing or gr.skip(), gr.skip()
        if last.asked:
            async for html in self._ask(page, (visitor, run, view, label), lambda: last):
                yield gr.skip(), gr.skip(), html

    def examples(self, visitor: str, run: str | None) -> str:
        """Pictures to click; empty where there are none."""
        try:
            return cards.examples(self._examples(visitor, run))
        except TransferError:  # shown where the run is described
            return ""

    async def ask_example(self, page, visitor, run, view, label, clicked: gr.EventData):
        """The same as `ask_files` for the example that was clicked."""

        def example() -> Question:
            found, place = self._examples(visitor, run), posted(clicked, "place")
            known = type(place) is int and 0 <= place < len(found)
            return Question([Asked(*found[place])] if known else [])

        async for html in self._ask(page, (visitor, run, view, label), example):
            yield html

    def _examples(self, visitor: str, run: str | None) -> list[Example]:
        return self.runs.examples(visitor, _checked(run), MOST_EXAMPLES)

    def _ask(self, page: Page, known: tuple, given: Callable[[], Question | None]) -> AsyncIterator:
        """Answer what was given and keep it for the visitor's next page; without anything, answer
        again what was shown last."""

        def asked() -> list[Asked]:
            if (question := given()) is None:
                return page.asked
            if visitor := hashed(known[0]):
                self._last.put(visitor, question)
            return question.asked

        return page.answer(self._steps(*known, asked), self._slots)

    def _steps(self, visitor, run, view, label, given: Callable[[], list[Asked]]) -> Iterator[Step]:
        try:
            asked = self._or_last_photo(visitor, run, given())
        except TransferError as error:
            yield cards.error(str(error)), []
            return
        asked = [replace(each, answer=None, error="") for each in asked]
        yield "" if asked else cards.EMPTY, asked
        if not asked:
            return
        first, left = asked[:MOST_PICTURES], len(asked) - MOST_PICTURES
        sheet = cards.Sheet(
            [each.name for each in first],
            legend=cards.legend() if view == "heat" else "",
            note=f"{left:,} more pictures: at most {MOST_PICTURES} at once." if left > 0 else "",
            tabular=view == "table" or len(first) > MOST_CARDS,
        )
        pace = _Pace()
        try:
            for done, total in self.runs.prepare(visitor, run):
                yield cards.preparing(done, total) if pace.due() or not done else "", asked
            digits = self._is_on_digits(visitor, run)
            answering = Answering(self.runs, visitor, _checked(run), view, str(label or ""), digits)
            answers = answering.answers(first, 0 if view == "table" else MOST_CARDS)
            for i, (answered, card, row) in enumerate(answers):
                first[i] = answered
                sheet.add(answered, card, row)
                whole = i + 1 == len(first)
                yield sheet.html() if whole or pace.due() else "", [*first]
        except TransferError as error:
            yield cards.error(str(error)), asked

    def _or_last_photo(self, visitor: str, run: str, asked: list[Asked]) -> list[Asked]:
        """While classes are taught, their last photo takes the place of none, or of the one before.
        Raises SourceError."""
        if run != LIVE or (asked and asked[0].name != LAST_PHOTO):
            return asked
        newest = self.runs.live.newest(visitor)
        return [Asked(LAST_PHOTO, newest)] if newest else []

    @as_message()
    def save(self, visitor: str, page: Page) -> str:
        """The path of a table of the answers shown last, in CSV; it is removed after a while."""
        answered = [each for each in page.asked if each.answer or each.error]
        rows = [(each.name, each.answer, each.error) for each in answered]
        if not rows:
            raise ImageError("expected answers to save, found none; add pictures first")
        most = max((len(answer.predictions) for _, answer, _ in rows if answer), default=TOP)
        target = self.downloads.new_folder(require_visitor(visitor)) / "answers.csv"
        for _ in write_table(target, rows, most):
            pass
        return str(target)

    def _about(self, visitor: str, run: str) -> tuple[str, Sequence[str]]:
        """(a line about a run, its classes). Raises TransferError."""
        if run == LIVE and self.runs.live.answers(visitor):
            classes = self.runs.live.classes(visitor)
            return LIVE_ABOUT.format(len(classes)), classes
        if is_address(run):
            classes = self.runs.classifier(visitor, run).classes
            return f"A model on the Hub with {len(classes):,} classes.", classes
        found = cached_run(self.runs.own_path(visitor, run))
        images = found.report["images"]
        right = accuracy_text(found.accuracy, images)
        few = images < LEAST_IN_PERCENT
        accuracy = f"{right} test images right" if few else f"test accuracy {right}"
        return f"{len(found.classes):,} classes; {accuracy}.", found.classes

    def _is_on_digits(self, visitor: str, run: str | None) -> bool:
        with suppress(TransferError):
            found = cached_run(self.runs.own_path(visitor, _checked(run)))
            return found.record.get("source") == "digits"
        return False


def _checked(run: str | None) -> str:
    if not isinstance(run, str) or not run.strip():
        raise JobError("expected a run, found none; choose one, or type a Hub id like user/name")
    return run.strip()


class _Pace:
    """When to show again what grows: less often as time passes, so that what is sent grows with it
    and not with its square."""

    def __init__(self):
        self._began = self._shown = time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        wait = max(SECONDS_BETWEEN_UPDATES, SHARE_BETWEEN_UPDATES * (now - self._began))
        due = now - self._shown > wait
        self._shown = now if due else self._shown
        return due
