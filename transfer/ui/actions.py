"""What the page does: each handler checks its input again, since anybody can post to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from html import escape
from pathlib import Path

import gradio as gr
import numpy as np

from transfer import source as sources
from transfer.errors import JobError, TransferError
from transfer.hygiene import inspecting
from transfer.image import load_image
from transfer.jobs import Job, Jobs
from transfer.run_folder import Run, read_run
from transfer.settings import TrainingSettings
from transfer.source.digits import as_digit
from transfer.ui.charts import bars, charts, thumbnails
from transfer.ui.findings import findings, progress
from transfer.ui.own import OwnData, known
from transfer.ui.report import report
from transfer.ui.status import job_status

SAMPLES = 12
SECONDS_BETWEEN_LOOKS = 0.4
WEIGHTS = ("auto", "hub", "bundled", "random")
ADVANCED = (
    "weights",
    "image_size",
    "head_epochs",
    "finetune_epochs",
    "head_lr",
    "finetune_lr",
    "target_accuracy",
    "optimizer",
    "limit_per_class",
    "seed",
    "head",
)
WHOLE_NUMBERS = ("image_size", "head_epochs", "finetune_epochs", "limit_per_class", "seed")


class Actions:
    """The page's handlers, over one registry of jobs."""

    def __init__(self, jobs: Jobs, *, shared: bool):
        self.jobs = jobs
        self.shared = shared
        self.own = OwnData(jobs.runs / ".own")

    def show_source(self, visitor: str, source: str):
        """What a source holds, with samples, or in a sentence why it cannot be used."""
        try:
            images = sources.open_source(self._allowed(visitor, source), TrainingSettings())
        except TransferError as error:
            return f'<p class="warning">{escape(str(error))}</p>'
        counts = ", ".join(f"{n:,} {name}" for name, n in images.counts().items())
        told = "".join(f"<li>{escape(p.where)}: {escape(p.why)}</li>" for p in images.problems[:10])
        return (
            f"<p><b>{len(images.classes)} classes, {sum(images.counts().values()):,} images</b> "
            f"({counts})</p>{bars(images.class_counts())}"
            + (f'<ul class="warning">{told}</ul>' if told else "")
            + thumbnails(_samples(images))
        )

    def look(self, visitor: str, source: str) -> Iterator[str]:
        """Look at every image of a source: how far that is, then what was found."""
        try:
            images = sources.open_source(self._allowed(visitor, source), TrainingSettings())
            told, looking = 0.0, inspecting(images)
            while True:
                try:
                    event = next(looking)
                except StopIteration as end:
                    yield findings(end.value)
                    return
                if time.monotonic() - told > SECONDS_BETWEEN_LOOKS:
                    told = time.monotonic()
                    yield progress(event)
        except TransferError as error:
            yield f'<p class="warning">{escape(str(error))}</p>'

    def start(self, visitor: str, source: str, method: str, unfreeze: str, *advanced):
        """Queue a training for this visitor; what `watched` shows until it is watched."""
        options = {"method": method, "unfreeze": unfreeze} | _filled(advanced)
        try:
            if options.get("weights", "auto") not in WEIGHTS:
                raise JobError(f"body must be one of {', '.join(WEIGHTS)}; choose one of them")
            job = self.jobs.start(self._allowed(visitor, source), options, owner=known(visitor))
        except TransferError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return self._shown(job)

    def stop(self, visitor: str):
        """Stop this visitor's training, and nobody else's."""
        job = self.jobs.newest_of(known(visitor))
        if job is not None and job.live:
            self.jobs.stop(job.id)
        return self._shown(job)[0], gr.Button(interactive=False)

    async def watch(self, visitor: str) -> AsyncIterator[tuple]:
        """What the page shows of this visitor's newest training, whenever that changes."""
        seen = None
        while True:
            job = self.jobs.newest_of(visitor)
            live = job is not None and job.live  # before it is shown, so that its end is shown too
            now = (job.id, job.version, self.jobs.position(job)) if job else None
            if job is None or now != seen:
                seen = now
                yield self._shown(job)
            if not live:
                return
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def runs(self, visitor: str):
        """The runs that this visitor may use, newest first."""
        names = [path.name for path in self._runs_of(visitor)]
        return gr.Dropdown(choices=names, value=names[0] if names else None)

    def classify_photo(self, visitor: str, run: str | None, photo: str | None):
        """Label → score of an upload; None while there is nothing to classify."""
        if not run or not photo:
            return None
        return self._answer(visitor, run, Path(photo))

    def classify_drawing(self, visitor: str, run: str | None, drawing: dict | None):
        """Label → score of a drawing, brought into the form of the digits first."""
        if not run:
            raise gr.Error("Train on `digits` first, then draw.", print_exception=False)
        try:
            digit = as_digit(load_image((drawing or {}).get("composite")))
        except TransferError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return self._answer(visitor, run, digit)

    def classify_file(self, image: gr.FileData, run: str, top: int = 5) -> list[dict]:
        """The `top` best classes of an image by a run of this app: [{label, score}], best first."""
        try:
            path = self._path_of(run)
            found = _classifier(path).classify(Path(image["path"]), top)
        except TransferError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return [{"label": p.label, "score": p.score} for p in found]

    def _answer(self, visitor: str, run: str, picture) -> dict[str, float]:
        try:
            if run not in [path.name for path in self._runs_of(visitor)]:
                raise JobError("expected a finished run of yours, found none; choose another")
            found = _classifier(self._path_of(run)).classify(picture, top=5)
        except TransferError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return {p.label: p.score for p in found}

    def _path_of(self, run: str) -> Path:
        """The folder of a run by name; a name is never a way out of the folder of runs."""
        path = self.jobs.runs / Path(str(run)).name
        if not run or Path(run).name != run or not (path / "run.json").is_file():
            raise JobError("expected a finished run of this app, found none of that name")
        return path

    def _runs_of(self, visitor: str) -> list[Path]:
        if self.shared:
            own = [job.out for job in self.jobs.all_of(visitor) if job.state == "done"]
            return list(reversed(own))
        found = [path.parent for path in self.jobs.runs.glob("*/run.json")]
        return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)

    def _allowed(self, visitor: str, source: str | None) -> str:
        source = (source or "").strip()
        if not source:
            raise JobError("expected a source, found nothing; choose `digits` or type one")
        if path := self.own.source_of(visitor, source):
            return str(path)
        if self.shared and source != "digits" and not source.startswith("hub:"):
            return f"hub:{source}"
        return source

    def _shown(self, job: Job | None) -> tuple:
        """Values for the watched components: status, charts, result, start, stop."""
        live = job is not None and job.live
        done = job is not None and job.state == "done"
        return (
            job_status(job, self.jobs.position(job) if job else 0),
            charts(list(job.history)) if job else "",
            report(_run(job.out)) if done else "",
            gr.Button(interactive=not live),
            gr.Button(interactive=live and not job.stopping),
        )


def _filled(advanced: tuple) -> dict:
    """Advanced settings that were filled in, whole numbers as such."""
    options = {k: v for k, v in zip(ADVANCED, advanced, strict=True) if v not in (None, "")}
    for name in WHOLE_NUMBERS:
        if isinstance(options.get(name), float) and options[name].is_integer():
            options[name] = int(options[name])
    return options


def _samples(images: sources.LabelledImages) -> list[tuple]:
    """(picture, class name) of a few training images of each class in turn."""
    train, chosen = images.splits["train"], []
    a_class = max(1, SAMPLES // len(images.classes))
    for label in range(len(images.classes)):
        chosen += list(np.flatnonzero(train.labels == label)[:a_class])
    shown = []
    for i in chosen[:SAMPLES]:
        try:
            shown.append((load_image(train.read(int(i))), images.classes[train.labels[i]]))
        except TransferError:
            continue
    return shown


@lru_cache(maxsize=4)
def _classifier(path: Path):
    from transfer.classifier import load

    return load(path)


@lru_cache(maxsize=64)
def _run(path: Path) -> Run:
    return read_run(path)
