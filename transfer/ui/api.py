"""The endpoints for other programs; everything else on the page is private."""

import secrets

import gradio as gr

from transfer.errors import JobError, SettingsError
from transfer.events import EpochDone, PhaseStarted, RunSaved
from transfer.jobs import Job
from transfer.settings import TrainingSettings
from transfer.ui.shared.guard import uploaded
from transfer.ui.shared.loaded_runs import LoadedRuns
from transfer.ui.shared.session import as_message
from transfer.ui.train.handlers import TrainHandlers

CALLS_AT_ONCE = 4


class Api:
    """The public endpoints; their docstrings are what other programs see.

    A job's name contains its id and its caller's secret: only those who were given the name can
    follow and stop the job, from any connection.
    """

    def __init__(self, trainings: TrainHandlers, runs: LoadedRuns):
        self.trainings = trainings
        self.jobs = trainings.jobs
        self.runs = runs

    def add_endpoints(self) -> None:
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
        """Classify a picture with a finished run of this app.

        Args:
            image: the picture as an upload, or over MCP as a `data:` URL (no other URL is
                fetched): JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP.
            run: a name from list_runs, or `example:digits`, or a model on the Hub as user/name.
            top: how many classes to return.

        Returns:
            [{label, score, in_set, known, familiarity}], best first. Scores are from 0 to 1 and sum
            to 1 over all classes; the true class is among those `in_set` for nine of ten pictures.
            `known` is false for a picture that is unlike all the training photos; `familiarity` is
            the share of held-out photos that are less like them. These three are null for a model
            that cannot tell.
        """
        with as_message():
            picture = uploaded(image)
            if type(top) is not int or top < 1:  # True is an int too
                raise SettingsError("top must be a whole number from 1 up, found something else")
            found = self.runs.classifier(self._caller(request), run).classify(picture, top)
        return [vars(prediction) for prediction in found]

    def start_training(
        self, source: str, settings: dict | None = None, request: gr.Request | None = None
    ) -> dict:
        """Queue a training: a new head warms up on the frozen body, then upper blocks learn too.

        Args:
            source: `digits`, a dataset on the Hub as user/name, or a folder of your own server.
            settings: options of the `train` command, such as {"head_epochs": 10}; the others get
                their defaults.

        Returns:
            the result of training_status; keep its `job`, the name of the training.
        """
        caller = self._caller(request)
        with as_message():
            if not isinstance(settings or {}, dict):
                raise SettingsError("settings must be names and values, found something else")
            options = TrainingSettings.from_options(**(settings or {}))
            job = self.trainings.begin(caller, source, options)
        return self._status(job, caller)

    def training_status(self, job: str) -> dict:
        """Report the progress of a training.

        Args:
            job: the name of the training, from start_training.

        Returns:
            {job, state, before, seconds_left, phase, epoch, epochs, accuracy, run, error}:
            `state` is queued, loading, caching, features, heads, warm-up, fine-tune, evaluating,
            done, stopped, failed, interrupted or expired; `before` is the number of trainings
            queued before it; `accuracy` is the newest one on the validation images, and at the end
            the one on the test images; `run` is the name of the finished run.
        """
        with as_message():
            job_id, caller = _split(job)
            return self._status(self.jobs.get(job_id, caller), caller)

    def stop_training(self, job: str) -> dict:
        """Stop a training within one batch and save what it has learned.

        Args:
            job: the name of the training, from start_training.

        Returns:
            the result of training_status.
        """
        with as_message():
            job_id, caller = _split(job)
            self.jobs.stop(job_id, caller)
            return self._status(self.jobs.get(job_id, caller), caller)

    def list_runs(self, request: gr.Request | None = None) -> list[dict]:
        """List the finished runs that the caller may use, newest first.

        Returns:
            [{run, name, source, accuracy, created}]: `run` is the name for classify, `accuracy` is
            on the test images, `created` in seconds since 1970.
        """
        same = ("name", "source", "accuracy", "created")
        return [
            {"run": run.id} | {name: getattr(run, name) for name in same}
            for run in self.jobs.finished.of(self._caller(request))
        ]

    def _caller(self, request: gr.Request | None) -> str:
        """The owner of a caller's jobs: each client on a shared server, elsewhere nobody."""
        if not self.runs.shared:
            return ""
        session = (request and request.session_hash) or secrets.token_hex(8)
        return f"api-{session}"

    def _status(self, job: Job, caller: str) -> dict:
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


def _split(job: str) -> tuple[str, str]:
    """A job's name → (job id, caller). Raises JobError."""
    job_id, dot, caller = str(job).partition(".")
    if not dot:
        raise JobError("expected the name of a training from start_training; start one")
    return job_id, caller
