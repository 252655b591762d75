"""What other programs may call, by name; everything else on the page is private."""

import secrets

import gradio as gr

from transfer.errors import JobError, SettingsError
from transfer.events import EpochDone, PhaseStarted, RunSaved
from transfer.jobs import Job
from transfer.ui.shared.guard import uploaded
from transfer.ui.shared.loaded_runs import LoadedRuns
from transfer.ui.shared.session import as_message
from transfer.ui.train.handlers import TrainHandlers

CALLS_AT_ONCE = 4


class Api:
    """The public endpoints, typed and documented as other programs see them.

    A job is named by its id and its caller's secret, so that whoever was given the name, and
    nobody else, can follow and stop it, from any connection.
    """

    def __init__(self, trainings: TrainHandlers, runs: LoadedRuns):
        self.trainings = trainings
        self.jobs = trainings.jobs
        self.runs = runs

    def offer(self) -> None:
        """Add the endpoints to the page that is being built."""
        for call in (
            self.classify,
            self.start_training,
            self.training_status,
            self.stop_training,
            self.list_runs,
        ):
            gr.api(call, api_name=call.__name__, concurrency_limit=CALLS_AT_ONCE)

    def classify(
        self, image: gr.FileData, run: str, top: int = 5, request: gr.Request | None = None
    ) -> list[dict]:
        """Say what is on a picture, by a finished run of this app.

        Args:
            image: the picture, uploaded, or over MCP as a `data:` address, for no other address is
                fetched: JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP.
            run: as list_runs names it, or `example:digits`, or a model on the Hub as user/name.
            top: how many classes to name.

        Returns:
            [{label, score}], best first; score 0 to 1, over all classes summing to 1.
        """
        with as_message():
            picture = uploaded(image)
            if type(top) is not int or top < 1:
                raise SettingsError("top must be a whole number from 1 up, found something else")
            found = self.runs.classifier(self._caller(request), run).classify(picture, top)
        return [{"label": p.label, "score": p.score} for p in found]

    def start_training(
        self, source: str, settings: dict | None = None, request: gr.Request | None = None
    ) -> dict:
        """Queue a training: a new head warms up on the frozen body, then upper blocks learn too.

        Args:
            source: `digits`, a data set on the Hub as user/name, or on one's own server a folder.
            settings: what `train` takes, as {"head_epochs": 10}; what is left out is chosen.

        Returns:
            what training_status says of it; keep `job`, which names it.
        """
        caller = self._caller(request)
        with as_message():
            if not isinstance(settings or {}, dict):
                raise SettingsError("settings must be names and values, found something else")
            job = self.trainings.begin(caller, source, settings or {})
        return self._told(job, caller)

    def training_status(self, job: str) -> dict:
        """Say how far a training is.

        Args:
            job: its name, as start_training gave it.

        Returns:
            {job, state, before, seconds_left, phase, epoch, epochs, accuracy, run, error}:
            `state` is queued, loading, caching, features, heads, warm-up, fine-tune, evaluating,
            done, stopped, failed, interrupted or expired; `before` how many trainings come first;
            `accuracy` the newest on validation, and in the end on the test images; `run` the name
            of the finished run.
        """
        with as_message():
            number, caller = self._named(job)
            return self._told(self.jobs.get(number, caller), caller)

    def stop_training(self, job: str) -> dict:
        """End a training within one batch and keep what it has learned.

        Args:
            job: its name, as start_training gave it.

        Returns:
            what training_status says of it.
        """
        with as_message():
            number, caller = self._named(job)
            self.jobs.stop(number, caller)
            return self._told(self.jobs.get(number, caller), caller)

    def list_runs(self, request: gr.Request | None = None) -> list[dict]:
        """List the finished runs that the caller may use, newest first.

        Returns:
            [{run, name, source, accuracy, created}]: `run` is what classify takes, `accuracy` is
            on the test images, `created` in seconds since 1970.
        """
        return [
            {
                "run": run.id,
                "name": run.name,
                "source": run.source,
                "accuracy": run.accuracy,
                "created": run.created,
            }
            for run in self.jobs.runs_of(self._caller(request))
        ]

    def _caller(self, request: gr.Request | None) -> str:
        """Who calls: on a shared server each client for itself, elsewhere everybody is one."""
        if not self.runs.shared:
            return ""
        session = (request and request.session_hash) or secrets.token_hex(8)
        return f"api-{session}"

    def _named(self, job: str) -> tuple[str, str]:
        """(job id, caller). Raises JobError."""
        number, dot, caller = str(job).partition(".")
        if not dot:
            raise JobError("expected the name of a training as start_training gave it; start one")
        return number, caller

    def _told(self, job: Job, caller: str) -> dict:
        epochs = [event for event in job.history if isinstance(event, EpochDone)]
        phases = [event for event in job.history if isinstance(event, PhaseStarted)]
        saved = next((event for event in job.history if isinstance(event, RunSaved)), None)
        accuracy = epochs[-1].validation_accuracy if epochs else None
        return {
            "job": f"{job.id}.{caller}",
            "state": job.state,
            "before": self.jobs.position(job),
            "seconds_left": self.jobs.seconds_left(job) if job.live else 0.0,
            "phase": phases[-1].phase if phases else None,
            "epoch": epochs[-1].epoch if epochs else 0,
            "epochs": epochs[-1].epochs if epochs else 0,
            "accuracy": saved.result["accuracy"] if saved else accuracy,
            "run": job.out.name if job.state == "done" else None,
            "error": job.error or None,
        }
