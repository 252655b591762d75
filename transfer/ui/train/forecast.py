"""What a training would do before it is started: how long it takes, and what will learn."""

from contextlib import suppress
from dataclasses import replace
from html import escape
from typing import Any, NamedTuple

import gradio as gr

from transfer.cache.timed_cache import TimedCache
from transfer.errors import CacheError, TransferError
from transfer.formatting import duration, phase_times
from transfer.jobs import JobManager
from transfer.model.backbone_download import is_reachable
from transfer.settings import TrainingSettings
from transfer.training.defaults import EFFORTS
from transfer.training.forecast import forecast, known_speed, plan_settings
from transfer.ui.data.handlers import DataHandlers, Known
from transfer.ui.shared.components import warning
from transfer.ui.train.diagram import planned_diagram
from transfer.ui.train.form import (
    EFFORT_TITLES,
    FEATURES,
    FILLED,
    placeholders,
    read_form,
    unfreeze_choices,
)

SECONDS_CACHED = 300.0
BODY = "timm/vgg16.tv_in1k"
EFFORT_TEXTS = {
    "quick": "Warm-up only, on smaller photos.",
    "balanced": "The best of several heads is warmed up, then block5 is fine-tuned too.",
    "thorough": "Twice the epochs and views, and block4 is fine-tuned as well.",
    FEATURES: "No training: a linear classifier on what the frozen body sees.",
}
NOT_OPENED = "Press Show images to see how long this takes."
NOT_MEASURED = "The time is estimated once the speed of this machine has been measured."
BODIES = {
    "hub": "with the body from the Hub",
    "bundled": "with the bundled body",
    "random": "with a random body",
}


class Plan(NamedTuple):
    """What a training would do: in words, the seconds by effort and step, with what settings, on
    which images."""

    sentences: str
    seconds: dict[str, dict[str, float]]
    filled: TrainingSettings | None = None
    known: Known | None = None


class Forecaster:
    """What the page says about the form, each time that one of its fields changes."""

    def __init__(self, jobs: JobManager, datasets: DataHandlers):
        self.jobs = jobs
        self.datasets = datasets
        self._body = TimedCache(1, SECONDS_CACHED)

    def form_changed(self, visitor: str, source: str, **form):
        """(what is trained on, the efforts with their times, the estimate, the network as it will
        be trained, the blocks to choose from, then every text field with its default).

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
        plan, diagram, blocks = Plan("", {}), gr.skip(), gr.skip()
        try:
            settings = read_form(form)
            usual = EFFORTS[settings.effort].unfreeze
            blocks = gr.Dropdown(choices=unfreeze_choices(usual))
            if not keep_diagram:
                diagram = planned_diagram(settings.method, settings.unfreeze or usual)
            plan = self._plan(visitor, source, settings)
            estimate = f'<p class="forecast">{escape(plan.sentences)}</p>'
        except TransferError as error:
            estimate = warning(error)
        shown = placeholders(plan.filled) if plan.filled else {}
        return (
            self.datasets.card(visitor, source, plan.known),
            gr.Radio(choices=[(_effort(name, plan.seconds), name) for name in EFFORT_TITLES]),
            estimate,
            diagram,
            blocks,
            *(gr.Textbox(placeholder=shown[n]) if n in shown else gr.skip() for n in FILLED),
        )

    def _plan(self, visitor: str, source: str, settings: TrainingSettings) -> Plan:
        """Raises TransferError."""
        effort = FEATURES if settings.method == FEATURES else settings.effort
        what = EFFORT_TEXTS[effort]
        known, speed = self.datasets.summary(visitor, source, settings), known_speed()
        if known is None or speed is None:
            return Plan(f"{what} {NOT_OPENED if known is None else NOT_MEASURED}", {}, None, known)
        images = known.summary, known.counts
        filled, _ = plan_settings(speed, settings, *images)
        seconds = {}
        for name in EFFORT_TITLES:
            with suppress(CacheError):
                seconds[name] = forecast(speed, _with_effort(settings, name, effort), *images)
        return Plan(f"{what} {self._times(filled, seconds[effort])}", seconds, filled, known)

    def _times(self, filled: TrainingSettings, steps: dict[str, float]) -> str:
        weights = filled.weights
        if weights == "auto":
            weights = self._body.get("") or self._body.put("", _auto_weights())
        return (
            f"Estimated: {duration(sum(steps.values()))} ({phase_times(steps)}), at "
            f"{filled.image_size} px {BODIES.get(weights, f'with {weights}')}. Less if images "
            "are prepared already, more if other programs are running."
        )


def _effort(name: str, seconds: dict[str, dict[str, float]]) -> str:
    total = f", about {duration(sum(seconds[name].values()))}" if name in seconds else ""
    return EFFORT_TITLES[name] + total


def _with_effort(settings: TrainingSettings, name: str, chosen: str) -> TrainingSettings:
    """The same settings with another effort, which unfreezes its own blocks."""
    if name == chosen:
        return settings
    if name == FEATURES:
        return replace(settings, method=FEATURES, unfreeze="none")
    return replace(settings, method="finetune", effort=name, unfreeze=None)


def _auto_weights() -> str:
    return "hub" if is_reachable(BODY) else "bundled"
