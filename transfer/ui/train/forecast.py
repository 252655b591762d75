"""What a training would do, before it is started: the network then, and how long it takes."""

import time
from html import escape

import gradio as gr

from transfer.data.dataset import DatasetSummary
from transfer.errors import TransferError
from transfer.events import WeightsChosen
from transfer.formatting import duration
from transfer.jobs import JobManager
from transfer.settings import TrainingSettings
from transfer.training.defaults import EFFORTS, fill_defaults
from transfer.training.forecast import Speed, forecast, known_speed
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.train.diagram import planned_picture
from transfer.ui.train.form import filled

SECONDS_KNOWN = 300.0
BODY = "timm/vgg16.tv_in1k"
ONE_EFFORT = (
    "There is one effort: the body runs once over every image, then a classifier is fitted."
)
NOT_OPENED = (
    "How long that takes cannot be told before the images are known: choose Show images in Data."
)
NOT_MEASURED = (
    "How long that takes is told once this machine has been measured: while it rests, or, where "
    "a GPU is lent for some seconds, in a first training."
)
BODIES = {
    "hub": "with ImageNet's body",
    "bundled": "with the small bundled body",
    "random": "with a random body",
}


class Forecaster:
    """What the page says of the settings as they stand, each time that one of them changes."""

    def __init__(self, jobs: JobManager, sources: DataHandlers):
        self.jobs = jobs
        self.sources = sources
        self._body = "", 0.0

    def unfreeze_of(self, effort: str) -> str:
        """The block that an effort unfreezes, for the field that shows it."""
        return EFFORTS[effort].unfreeze if effort in EFFORTS else "block5"

    def plan(self, visitor: str, source: str, method: str, effort: str, unfreeze: str, *advanced):
        """(the efforts with their times, how long this will take, the network as it will be).

        The network stays as it is while a training of this visitor shows in it.
        """
        job = self.jobs.newest_of(visitor)
        picture = gr.skip() if job and job.live else planned_picture(method, unfreeze)
        return *self._told_of(visitor, source, method, effort, unfreeze, advanced), picture

    def opened(self, visitor: str, source: str, method: str, effort: str, unfreeze: str, *advanced):
        """The same, where no setting was changed: what a training left in the picture stays."""
        picture = gr.skip() if self.jobs.newest_of(visitor) else planned_picture(method, unfreeze)
        return *self._told_of(visitor, source, method, effort, unfreeze, advanced), picture

    def once_measured(self, *settings):
        """`opened`, and the end of asking for it, as soon as this machine's speed is known."""
        if known_speed() is None:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        return *self.opened(*settings), gr.Timer(active=False)

    def _told_of(self, visitor, source, method, effort, unfreeze, advanced) -> tuple:
        """(the efforts with their times, how long this will take, or why that is not known)."""
        try:
            options = filled(method, effort, unfreeze, advanced)
            told, found = self._told(visitor, source, options)
        except TransferError as error:
            told, found = f'<p class="warning">{escape(str(error))}</p>', {}
        names = [(_titled(name, found.get(name)), name) for name in EFFORTS]
        return gr.Radio(choices=names, interactive=method == "finetune"), told

    def _told(self, visitor: str, source: str, options: dict) -> tuple[str, dict]:
        """(sentences, effort → step → seconds). Raises TransferError."""
        settings = TrainingSettings.from_options(**options)
        what = EFFORTS[settings.effort].what if settings.method == "finetune" else ONE_EFFORT
        known = self.sources.looks.of(self.sources.allowed(visitor, source), settings)
        speed = known_speed()
        if known is None or speed is None:
            return _paragraph(what, NOT_OPENED if known is None else NOT_MEASURED), {}
        look, images = known
        weights = self._weights(visitor, settings.weights)
        found = seconds_of_efforts(speed, look, images, options, weights)
        suited = fill_defaults(settings, look, weights, fast_device=speed.fast_device)
        return _paragraph(what, _spoken(found[settings.effort], suited, weights)), found

    def _weights(self, visitor: str, asked: str) -> str:
        """Where the body will come from, as far as that can be told without fetching it."""
        if asked != "auto":
            return asked
        for job in reversed(self.jobs.all_of(visitor)):
            for event in job.history:
                if isinstance(event, WeightsChosen) and job.settings.weights == asked:
                    return event.weights
        name, told = self._body
        if not name or time.monotonic() - told > SECONDS_KNOWN:
            self._body = name, _ = body_to_come(), time.monotonic()
        return name


def seconds_of_efforts(
    speed: Speed, look: DatasetSummary, images: dict[str, int], options: dict, weights: str
) -> dict[str, dict[str, float]]:
    """Effort → step → seconds, with everything that was set; of the others by their own block."""
    found = {}
    for name, effort in EFFORTS.items():
        chosen = options | {"effort": name}
        if name != options["effort"]:
            chosen["unfreeze"] = effort.unfreeze
        settings = TrainingSettings.from_options(**chosen)
        found[name] = forecast(speed, settings, look, images, weights)
    return found


def body_to_come() -> str:
    """`hub` where ImageNet's body is here, or the Hub answers in time; else `bundled`."""
    from huggingface_hub import HfApi

    from transfer import hub
    from transfer.model.backbone_download import find_cached_body

    try:
        if find_cached_body(BODY):
            return "hub"
        hub.with_deadline(lambda: HfApi().model_info(BODY, timeout=hub.ANSWER_SECONDS))
    except Exception:  # whatever keeps it away, the training will say it
        return "bundled"
    return "hub"


def _titled(name: str, seconds: dict[str, float] | None) -> str:
    total = f", about {duration(sum(seconds.values()))}" if seconds else ""
    return f"{name.capitalize()}{total}"


def _paragraph(*sentences: str) -> str:
    return f'<p class="foretold">{escape(" ".join(sentences))}</p>'


def _spoken(seconds: dict[str, float], settings: TrainingSettings, weights: str) -> str:
    steps = ", ".join(f"{name} {duration(s)}" for name, s in seconds.items())
    return (
        f"About {duration(sum(seconds.values()))} while nothing else runs here ({steps}), at "
        f"{settings.image_size} px, {BODIES.get(weights, weights)}; less where features of an "
        "earlier training are still kept."
    )
