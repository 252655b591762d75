"""What a training would do before it is started: how long it takes, and what will learn."""

from contextlib import suppress
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from transfer.errors import CacheError, TransferError
from transfer.formatting import duration, phase_times
from transfer.jobs import JobManager
from transfer.settings import TrainingSettings
from transfer.training.defaults import EFFORTS
from transfer.training.forecast import forecast, known_speed, plan_settings
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.shared.components import warning
from transfer.ui.shared.timed_cache import TimedCache
from transfer.ui.train.diagram import planned_diagram
from transfer.ui.train.form import read_form

SECONDS_CACHED = 300.0
BODY = "timm/vgg16.tv_in1k"
EFFORT_TEXTS = {
    "quick": "Warm-up only, on smaller photos: half the epochs, one view of each image, the "
    "default head.",
    "balanced": "Several heads are tried, the best one is warmed up, then block5 is "
    "fine-tuned too.",
    "thorough": "Twice the fine-tune epochs and twice the views of each photo; block4 is "
    "fine-tuned as well.",
}
FEATURES_ONLY = "Each image passes through the body once, then a linear classifier is fitted."
NOT_OPENED = "To see how long this takes, choose Show images in Data first."
NOT_MEASURED = "The time is estimated once the speed of this machine has been measured."
BODIES = {
    "hub": "with the body from the Hub",
    "bundled": "with the bundled body",
    "random": "with a random body",
}


class Forecaster:
    """What the page says about the form, each time that one of its fields changes."""

    def __init__(self, jobs: JobManager, datasets: DataHandlers):
        self.jobs = jobs
        self.datasets = datasets
        self._body = TimedCache(1, SECONDS_CACHED)

    def form_changed(self, visitor: str, source: str, **form):
        """(the efforts with their times, the estimate, the network as it will be trained).

        `form` is value by name of field. The network of a training in progress stays.
        """
        job = self.jobs.newest_of(visitor)
        return self._update(visitor, source, form, keep_diagram=job is not None and job.live)

    def dataset_changed(self, visitor: str, source: str, **form):
        """The same, also as the page opens; the network of the last training stays too."""
        job = self.jobs.newest_of(visitor)
        return self._update(visitor, source, form, keep_diagram=job is not None)

    def when_measured(self, visitor: str, source: str, **form):
        """`dataset_changed` and a stopped timer, as soon as this machine's speed is known."""
        if known_speed() is None:
            return gr.skip()
        return *self.dataset_changed(visitor, source, **form), gr.Timer(active=False)

    def _update(self, visitor: str, source: str, form: dict[str, Any], *, keep_diagram: bool):
        seconds = {}
        try:
            sentences, seconds = self._estimate(visitor, source, read_form(form))
            estimate = f'<p class="forecast">{escape(sentences)}</p>'
        except TransferError as error:
            estimate = warning(error)
        totals = {name: f", about {duration(sum(s.values()))}" for name, s in seconds.items()}
        efforts = [(name.capitalize() + totals.get(name, ""), name) for name in EFFORTS]
        return (
            gr.Radio(choices=efforts, interactive=form["method"] == "finetune"),
            estimate,
            gr.skip() if keep_diagram else planned_diagram(form["method"], form["unfreeze"]),
        )

    def _estimate(self, visitor: str, source: str, settings: TrainingSettings) -> tuple[str, dict]:
        """(sentences, effort → step → seconds). Raises TransferError."""
        tunes = settings.method == "finetune"
        what = EFFORT_TEXTS[settings.effort] if tunes else FEATURES_ONLY
        summary, speed = self.datasets.summary(visitor, source, settings), known_speed()
        if summary is None or speed is None:
            return f"{what} {NOT_OPENED if summary is None else NOT_MEASURED}", {}
        weights = settings.weights
        if weights == "auto":
            weights = self._body.get("") or self._body.put("", expected_body())
        filled, _ = plan_settings(speed, settings, *summary)
        seconds = {}
        for name, effort in EFFORTS.items():  # the others unfreeze their own blocks
            unfreeze = settings.unfreeze if name == settings.effort else effort.unfreeze
            chosen = replace(settings, effort=name, unfreeze=unfreeze)
            with suppress(CacheError):
                seconds[name] = forecast(speed, chosen, *summary)
        steps = seconds[settings.effort]
        return (
            f"{what} Estimated: {duration(sum(steps.values()))} ({phase_times(steps)}), at "
            f"{filled.image_size} px {BODIES.get(weights, f'with {weights}')}. Less if features "
            "are already cached, more if other programs are running."
        ), seconds


def expected_body() -> str:
    """`hub` if timm's body is cached or the Hub answers in time, else `bundled`."""
    from huggingface_hub import HfApi

    from transfer import hub
    from transfer.model.backbone_download import find_cached_body

    try:
        if find_cached_body(BODY):
            return "hub"
        hub.with_deadline(lambda: HfApi().model_info(BODY, timeout=hub.ANSWER_SECONDS))
    except Exception:  # whatever the reason, the training will report it
        return "bundled"
    return "hub"
