"""Trainings in the background, by id, each in a worker process that is warm before it is needed.

A worker that crashes or is killed ends its own job with a sentence, nothing else. Knows neither
gradio nor torch.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from transfer import events
from transfer.errors import JobError, TransferError
from transfer.run_folder import RECORD
from transfer.settings import TrainingSettings

MAX_QUEUED = 8
OUT_OF_MEMORY_STATUS = -9
SECONDS_TO_END = 5
SECONDS_TO_CLEAR_AWAY = 5
WORKER = (sys.executable, "-m", "transfer.worker")
LIVE = (
    "queued",
    "loading",
    "caching",
    "features",
    "heads",
    "warm-up",
    "fine-tune",
    "evaluating",
)
ENDED = ("done", "stopped", "failed")


@dataclass(kw_only=True)
class Job:
    """One training. `history` holds every lasting event, `passing` the newest progress.

    `state` is one of LIVE or ENDED; `stopped` means that it ended early and kept nothing, a run
    that was stopped and kept is `done`. `version` counts changes, for whoever watches.
    """

    id: str
    owner: str
    source: str
    out: Path
    options: dict
    state: str = "queued"
    error: str = ""
    history: list[events.Event] = field(default_factory=list)
    passing: events.Event | None = None
    stopping: bool = False
    version: int = 0
    started: float | None = None

    @property
    def live(self) -> bool:
        return self.state in LIVE


class Jobs:
    """A registry with one training at a time and a bounded queue. Safe to use from any thread."""

    def __init__(self, runs: Path, command: tuple[str, ...] = WORKER):
        self.runs = runs
        self.command = command
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition()
        self._spare: subprocess.Popen | None = None
        self._worker: subprocess.Popen | None = None
        self._closed = False
        self._follower = threading.Thread(target=self._run_queue, daemon=True, name="jobs")
        self._follower.start()

    def keep_warm(self) -> None:
        """Have a worker with everything imported at hand."""
        with self._changed:
            if not self._closed and not _lives(self._spare):
                with suppress(OSError):  # a job that finds none says so
                    self._spare = self._spawn()

    def start(self, source: str, options: dict, owner: str = "") -> Job:
        """Queue a training. Raises SettingsError for bad options, JobError when it must wait.

        An owner has one live job at a time.
        """
        TrainingSettings.from_options(**options)
        job_id = secrets.token_hex(8)
        job = Job(
            id=job_id,
            owner=owner,
            source=source,
            out=self.runs / run_name(source, job_id),
            options=options,
        )
        with self._changed:
            if owner and any(other.owner == owner and other.live for other in self._jobs.values()):
                raise JobError("a training of yours is still going on; stop it or wait for its end")
            if len(self._queue) >= MAX_QUEUED:
                raise JobError(f"{MAX_QUEUED} trainings are waiting already; try again later")
            self._jobs[job_id] = job
            self._queue.append(job)
            self._changed.notify_all()
        return job

    def get(self, job_id: str) -> Job:
        """Raises JobError when there is none."""
        try:
            return self._jobs[job_id]
        except KeyError:
            raise JobError("expected a training of this app, found none; start one") from None

    def all_of(self, owner: str) -> list[Job]:
        """An owner's trainings, oldest first."""
        return [job for job in list(self._jobs.values()) if owner and job.owner == owner]

    def newest_of(self, owner: str) -> Job | None:
        owned = self.all_of(owner)
        return owned[-1] if owned else None

    def position(self, job: Job) -> int:
        """How many trainings come first; 0 when it runs."""
        with self._changed:
            return self._queue.index(job) + 1 if job in self._queue else 0

    def stop(self, job_id: str) -> None:
        """End a training within one batch and keep what it learned; one in the queue just goes."""
        job = self.get(job_id)
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
                self._change(job, state="stopped")
            elif job.live and not job.stopping:
                job.stopping = True
                self._change(job)
                if self._worker is not None:
                    _send(self._worker, "stop")

    def close(self) -> None:
        """End every worker. What was not finished leaves nothing behind."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            workers = [w for w in (self._worker, self._spare) if w is not None]
        for worker in workers:
            with suppress(OSError):  # it has died with something unread
                worker.stdin.close()
        for worker in workers:
            try:
                worker.wait(timeout=SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                worker.kill()
        self._follower.join(timeout=SECONDS_TO_CLEAR_AWAY)

    def _spawn(self) -> subprocess.Popen:
        path = (str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH"))
        return subprocess.Popen(
            self.command,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def _run_queue(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                job = self._queue.popleft()
                try:
                    worker = self._hand_over(job)
                except OSError as error:
                    self._change(job, state="failed", error=_why_it_did_not_start(error))
                    continue
            self._follow(job, worker)
            self.keep_warm()

    def _hand_over(self, job: Job) -> subprocess.Popen:
        """Give the job to a worker; the lock is held, so that a `stop` cannot come before it."""
        order = {"source": job.source, "out": str(job.out.absolute()), "options": job.options}
        worker = self._spare if _lives(self._spare) else self._spawn()
        self._worker, self._spare = worker, None
        job.started = time.time()
        self._change(job, state="loading")
        _send(worker, json.dumps(order))
        return worker

    def _follow(self, job: Job, worker: subprocess.Popen) -> None:
        """Take in what the worker says until it ends, and clear away what it left unfinished."""
        for line in worker.stdout:
            try:
                self._hear(job, json.loads(line))
            except (ValueError, TransferError):
                continue
        status = worker.wait()
        with self._changed:
            self._worker = None
        if not (job.out / RECORD).exists():
            shutil.rmtree(job.out, ignore_errors=True)
        if job.live:
            self._change(job, state="failed", error=_why_it_died(status))

    def _hear(self, job: Job, message) -> None:
        if not isinstance(message, dict) or "ready" in message:
            return
        if "error" in message:
            self._change(job, state="failed", error=str(message["error"]))
        elif "stopped" in message:
            self._change(job, state="stopped")
        else:
            self._take(job, events.from_json(message))

    def _take(self, job: Job, event: events.Event) -> None:
        if isinstance(event, events.PASSING):
            job.passing = event
        else:
            job.passing = None
            job.history.append(event)
        self._change(job, state=_state_after(event) or job.state)

    def _change(self, job: Job, **fields) -> None:
        with self._changed:
            for name, value in fields.items():
                setattr(job, name, value)
            job.version += 1
            self._changed.notify_all()


def run_name(source: str, job_id: str) -> str:
    """A folder name that says what was trained and when."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).name).strip("-").lower() or "run"
    return f"{plain[:40]}-{time.strftime('%Y%m%d-%H%M%S')}-{job_id[:8]}"


def _state_after(event: events.Event) -> str | None:
    match event:
        case events.CacheProgress():
            return "caching"
        case events.HeadTried():
            return "heads"
        case events.PhaseStarted(phase=phase):
            return phase
        case events.PhaseDone():
            return "evaluating"
        case events.RunSaved():
            return "done"
    return None


def _lives(worker: subprocess.Popen | None) -> bool:
    return worker is not None and worker.poll() is None


def _send(worker: subprocess.Popen, line: str) -> None:
    try:
        worker.stdin.write(line + "\n")
        worker.stdin.flush()
    except (OSError, ValueError):
        pass  # it has died; whoever follows it says so


def _why_it_died(status: int) -> str:
    if status == OUT_OF_MEMORY_STATUS:
        return (
            "the training was killed, most likely for want of memory; choose a smaller image size"
        )
    return f"the training's process ended unexpectedly (status {status}); start it again"


def _why_it_did_not_start(error: OSError) -> str:
    return f"no process could be started for the training ({error.strerror}); try again later"
