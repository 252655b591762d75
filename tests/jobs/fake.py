"""A quick stand-in for the worker, and job managers that use it."""

import json
import threading
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from tests.waiting import wait_for
from transfer import events
from transfer.jobs import Job, JobManager
from transfer.runs import checkpoint
from transfer.settings import TrainingSettings

DEATHS = {"crash": 3, "killed": -9, "ended": 143, "hung up": -1}
ANN, BOB = "ann" * 9, "bob" * 9
SETTINGS = TrainingSettings()
CHOSEN = events.WeightsChosen(weights="random", reason="asked for")
CACHING = events.CacheProgress(stage="reading images", done=1, total=2, seconds=0.1)
CACHED = events.CacheFilled(images={"train": 1}, skipped=[], computed=1, megabytes=0.1, seconds=0.1)


def phase(name: str) -> events.PhaseStarted:
    return events.PhaseStarted(phase=name, epochs=1, trainable=1, parameters=2, learns=["head"])


def phase_done(name: str) -> events.PhaseDone:
    return events.PhaseDone(phase=name, epochs=1, best_epoch=1, accuracy=0.5, seconds=1.0, ended="")


def epoch(number: int, name: str = "warm-up", left: float = 0.1) -> events.EpochDone:
    scores = {"loss": 1.0, "validation_loss": 1.0, "validation_accuracy": 0.5, "best": True}
    times = {"seconds": 0.1, "seconds_left": left, "drift": {}}
    return events.EpochDone(phase=name, epoch=number, epochs=9, **scores, **times)


def save_run(out: Path, source: str = "photos", accuracy: float = 0.5) -> events.RunSaved:
    """What of a run its listing reads, and the event of its end."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps({"accuracy": accuracy, "images": 4}))
    (out / "run.json").write_text(json.dumps({"source": source}))
    result = {"accuracy": accuracy, "accuracy_interval": [0.2, 0.8], "images": {"test": 4}}
    return events.RunSaved(run=str(out), result=result | {"seconds": 1.0})


class FakeWorker:
    """Has the methods of `Worker`; what it does is the source of its task.

    good: trains. slow: trains until it is stopped. early: waits before it has learned anything.
    stuck: learns and ignores a stop. DEATHS: dies. cut: dies after an epoch and leaves a
    checkpoint; the second time it finishes. error, leaky: report an error.
    """

    def __init__(self, command=()):
        self.alive, self.status, self.sent = True, 0, []
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._killed = threading.Event()

    def send(self, line: str) -> None:
        self.sent.append(line)
        self._lines.put(line)

    def messages(self):
        task = json.loads(self._lines.get() or "null")
        for message in self._train(task["source"], Path(task["out"])) if task else ():
            yield message if isinstance(message, dict) else events.to_json(message)
        self.alive = False

    def wait(self) -> int:
        return self.status

    def kill(self) -> None:
        self.alive, self.status = False, -9
        self._killed.set()
        self._lines.put(None)

    def _train(self, kind: str, out: Path):
        cut = out / "checkpoint" / checkpoint.FILE
        yield CHOSEN
        if kind in ("error", "leaky"):
            why = "expected images, found none" if kind == "error" else "401 for hf_abcdefghijkl"
            yield {"error": why}
            return
        if kind == "cut" and cut.exists():
            yield events.Resumed(phase="warm-up", epoch=1)
            cut.unlink()
        else:
            cut.parent.mkdir(parents=True)
            if kind in DEATHS:
                self.status = DEATHS[kind]
                return
            if kind == "early":
                self._killed.wait()
                return
            yield from (CACHING, CACHED, phase("warm-up"), epoch(1))
            if kind == "cut":
                cut.touch()
                yield epoch(2)
                self.status = 3
                return
        if kind == "stuck":
            self._killed.wait()
        if kind == "slow":
            self._lines.get()
        if self._killed.is_set():
            return
        yield from (epoch(2), phase_done("warm-up"), phase("fine-tune"))
        yield events.BatchDone(phase="fine-tune", epoch=1, done=1, total=2, seconds_left=1.0)
        yield phase_done("fine-tune")
        yield save_run(out, kind)


@contextmanager
def manager(runs: Path, **options):
    """A job manager, closed at the end."""
    found = JobManager(runs, **{"worker": FakeWorker} | options)
    try:
        yield found
    finally:
        found.close()


def ended(job: Job) -> Job:
    wait_for(lambda: not job.live)
    return job


def learns(job: Job) -> Job:
    wait_for(lambda: job.state == "warm-up")
    return job


def kinds(history: list) -> list[str]:
    return [type(event).__name__ for event in history]
