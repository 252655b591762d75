"""Check the labels of a finished run's photos, train again with what the visitor decided, and tell
whether more photos would help."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import gradio as gr

from transfer.data.corrections import write_corrections
from transfer.errors import JobError, TransferError
from transfer.events import TRANSIENT, Event
from transfer.formatting import error_line
from transfer.jobs import JobManager, ListedRun
from transfer.jobs.run_photos import is_unchanged, photos
from transfer.machine.lazy_import import lazy_import
from transfer.runs.run import Run
from transfer.settings import Correction, TrainingSettings
from transfer.ui.runs.labels import (
    CARDS_SHOWN,
    TEST_PHOTOS_SHOWN,
    Suspects,
    label_cards,
    list_test_photos,
    review_progress,
    review_summary,
)
from transfer.ui.runs.learning_curve import curve_report
from transfer.ui.shared.components import warning
from transfer.ui.shared.downloads import Downloads
from transfer.ui.shared.loaded_runs import Seen, run_with_source
from transfer.ui.shared.session import as_message, require_visitor

SECONDS_BETWEEN_UPDATES = 0.4
RELABELLED = ", relabelled"  # after what the images of such a training are called
STOPPED = "stopped, and the features computed so far are cached"
NOT_CHECKED = "expected decisions about the labels listed here; check the labels again"


class LabelHandlers:
    """What is `checked` stays on the server: {"run": its id, "where": the names on the cards}.

    `decisions` come from the page, as [{"row": of a card, "label": index of a class or None}].
    """

    def __init__(self, jobs: JobManager):
        self.jobs = jobs
        self.downloads = Downloads()
        self._computing: set[str] = set()  # visitors
        self._stopped: set[str] = set()

    def offered(self, visitor: str, run_id: str | None) -> tuple:
        """(the column, visible where the visitor may see the photos of the run; no learning curve;
        nothing of what `review` yields), for what was found is about another run."""
        if visitor in [*self._computing]:  # compared, for a visitor's id may be anything
            self._stopped.add(visitor)
        try:
            visible = bool(self._seen(visitor, run_id))
        except TransferError:  # and no message, as nobody has asked for anything yet
            visible = False
        return gr.Column(visible=visible), "", *nothing_to_decide("")

    def begin(self, visitor: str) -> tuple:
        """(progress, the button that begins, the one that stops) until a computation starts, which
        may have to wait for another visitor's."""
        self._stopped.discard(require_visitor(visitor))
        return review_progress(None), gr.Button(interactive=False), gr.Button(visible=True)

    def stop(self, visitor: str) -> gr.Button:
        """End the visitor's computation at its next batch."""
        self._stopped.add(require_visitor(visitor))
        return gr.Button(visible=False)

    def review(self, visitor: str, run_id: str | None) -> Iterator[tuple]:
        """Yields (progress or summary, what is checked, the column to decide in, the cards, the
        bulk button, test photos)."""
        yield from self._computed(visitor, run_id, _review, nothing_to_decide)

    def learning_curve(self, visitor: str, run_id: str | None) -> Iterator[str]:
        """Yields the progress, then the learning curve of the run's photos."""
        yield from self._computed(visitor, run_id, _learning_curve, str)

    @as_message()
    def train(self, visitor: str, checked: dict | None, decisions: list) -> str:
        """Queue the same training with the decisions; returns no run to show a report of."""
        (listed, _, source), settings = self._decided(visitor, checked, decisions)
        name = listed.source.removesuffix(RELABELLED) + RELABELLED
        self.jobs.start(source, settings, owner=visitor, name=name)
        return ""

    @as_message()
    def download(self, visitor: str, checked: dict | None, decisions: list) -> str:
        """The path of a file for `train --corrections`; it is removed after a while."""
        (listed, _, _), settings = self._decided(visitor, checked, decisions)
        file = self.downloads.new_folder(visitor) / f"{listed.id}-corrections.json"
        write_corrections(file, settings.corrections)
        return str(file)

    def _seen(self, visitor: str, run_id: str | None) -> Seen:
        """Raises JobError where it is no run of this visitor's, or its photos are another's."""
        seen = run_with_source(self.jobs, visitor, run_id)
        if seen[-1] is None:
            raise JobError("you may not see the photos of this run; choose one of your own")
        return seen

    def _computed(
        self, visitor: str, run_id: str | None, compute: Callable, shown_as: Callable[[str], Any]
    ) -> Iterator:
        """The progress of `compute`, a few times a second, and what it returns, or its error.

        `shown_as` makes of the progress, which is HTML, what `compute` returns.
        """
        with as_message():
            seen = self._seen(require_visitor(visitor), run_id)
        yield shown_as(review_progress(None))
        self._computing.add(visitor)
        try:
            lazy_import("torch")
            with closing(compute(*seen)) as steps:  # what a stopped one has locked is free again
                yield (yield from self._progress(visitor, steps, shown_as))
        except Exception as error:
            if not (line := error_line(error)):
                raise
            yield shown_as(warning(line))
        finally:
            self._computing.discard(visitor)

    def _progress(
        self, visitor: str, steps: Iterator[Event], shown_as: Callable[[str], Any]
    ) -> Iterator:
        """Returns the result of the steps. Raises JobError once the visitor stops them."""
        shown = 0.0
        while visitor not in self._stopped:
            try:
                event = next(steps)
            except StopIteration as end:
                return end.value
            passing = isinstance(event, TRANSIENT)
            if not passing or time.monotonic() - shown > SECONDS_BETWEEN_UPDATES:
                shown = time.monotonic()
                yield shown_as(review_progress(event))
        raise JobError(STOPPED)

    def _decided(
        self, visitor: str, checked: dict | None, decisions: list
    ) -> tuple[Seen, TrainingSettings]:
        """(the run that was checked, its settings with the decisions). Raises JobError."""
        require_visitor(visitor)
        if not checked:
            raise JobError(NOT_CHECKED)
        seen = self._seen(visitor, checked["run"])
        run = seen[1]
        decided = corrections(decisions, checked["where"], run.record["classes"])
        # an earlier correction of the run stays, unless there is a new decision about its photo
        every = {one.where: one for one in (*run.settings.corrections, *decided)}
        return seen, replace(run.settings, corrections=tuple(every.values()))


def _review(listed: ListedRun, run: Run, source: str) -> Iterator[Event]:
    """Returns what `LabelHandlers.review` yields in the end. Raises TransferError."""
    from transfer.training.review import review

    if not is_unchanged(run, source):
        raise JobError("the photos have changed since this training; train on them again first")
    found = yield from review(source, run.settings)
    shown = with_pictures(run, source, found.suspects[:CARDS_SHOWN])
    tested = with_pictures(run, source, found.test_suspects[:TEST_PHOTOS_SHOWN])
    first = min(found.estimated_wrong, len(shown))
    return (
        review_summary(listed.name, found),
        {"run": listed.id, "where": [row["where"] for row, _ in shown]},
        gr.Column(visible=bool(shown)),
        label_cards(shown, first, run.record["classes"]),
        gr.Button(f"Relabel the first {first}, as estimated", visible=first > 0),
        list_test_photos(tested),
    )


def _learning_curve(_: ListedRun, run: Run, source: str) -> Iterator[Event]:
    """Returns what `LabelHandlers.learning_curve` yields in the end. Raises TransferError."""
    from transfer.training.learning_curve import learning_curve

    return curve_report((yield from learning_curve(source, run.settings)))


def nothing_to_decide(html: str) -> tuple:
    """What `review` yields before its end, and after an error."""
    return html, None, gr.Column(visible=False), "", gr.skip(), ""


def corrections(decisions: list, where: list[str], classes: list[str]) -> tuple[Correction, ...]:
    """Decisions of the page, about the photos `where`. Raises JobError."""
    if decisions == []:
        raise JobError("expected a label to change or a photo to leave out, found none; decide one")
    label_of, left_out = dict(enumerate(classes)), {"leave_out": True}
    photo, found = dict(enumerate(where)), {}
    try:
        for decision in decisions:
            row, label = decision["row"], decision["label"]
            what = left_out if label is None else {"label": label_of[label]}
            found[row] = Correction(where=photo[row], **what)
    except (TypeError, KeyError):  # of another form, or about other photos and classes
        raise JobError(NOT_CHECKED) from None
    return tuple(found.values())


def with_pictures(run: Run, source: str, rows: list[dict]) -> Suspects:
    """Each row with its photo, None where it cannot be read. Raises TransferError."""
    found = []
    for row in rows:
        pictures = photos(run, source, row["split"], [row["where"]])
        found.append((row, pictures[0][0] if pictures else None))
    return found
