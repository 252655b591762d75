"""The Train tab: the method, its settings, and the training as it goes."""

import gradio as gr

from transfer.hub import on_zero_gpu
from transfer.settings import PRECISIONS, UNFREEZE
from transfer.training.defaults import EFFORTS
from transfer.ui.runs.handlers import RunHandlers
from transfer.ui.runs.section import runs_section
from transfer.ui.shared.components import LATEST, accordion
from transfer.ui.shared.session import PRIVATE, QUIET
from transfer.ui.train.diagram import planned_picture
from transfer.ui.train.forecast import Forecaster
from transfer.ui.train.form import CLASS_WEIGHTS, WEIGHTS
from transfer.ui.train.handlers import TrainHandlers
from transfer.ui.train.status import job_status

UNFREEZE_NAMES = {
    "none": "none: stop after warm-up",
    "block5": "block5: the last block (usual)",
    "block4": "block4 and up",
    "block3": "block3 and up",
    "block2": "block2 and up",
    "block1": "block1 and up: all (slow)",
}
SECONDS_UNTIL_MEASURED = 3.0


def train_tab(
    trainings: TrainHandlers,
    visitor: gr.BrowserState,
    opened: gr.events.Dependency,
    source: gr.Dropdown,
) -> list:
    """What `Trainings.watch` shows: status, charts, result, start, stop, again, picture, and the
    name of the run whose result it is."""
    method, effort, unfreeze = _choices()
    with accordion("Advanced settings"):
        advanced = _advanced()
    foretold = gr.HTML('<p class="foretold">&nbsp;</p>')
    with gr.Row():
        start = gr.Button("Start training", variant="primary", scale=4, min_width=180)
        stop = gr.Button("Stop and keep what it learned", interactive=False, scale=5, min_width=260)
        again = gr.Button("Start again", visible=False, scale=3, min_width=140)
    picture = gr.HTML(planned_picture("finetune", "block5"))
    status, charts, result = gr.HTML(job_status(None)), gr.HTML(), gr.HTML()
    shown_run = gr.State("")
    watched = [status, charts, result, start, stop, again, picture, shown_run]
    settings = [visitor, source, method, effort, unfreeze, *advanced]
    for event in (
        start.click(trainings.start, settings, watched, **PRIVATE),
        again.click(trainings.again, visitor, watched, **PRIVATE),
        stop.click(trainings.stop, visitor, None, **PRIVATE),
    ):
        event.success(trainings.watch, visitor, watched, concurrency_limit=None, **QUIET)
    _foretell(trainings, opened, settings, [effort, foretold, picture])
    runs_section(RunHandlers(trainings.jobs), visitor, opened, result, shown_run)
    return watched


def _foretell(
    trainings: TrainHandlers, opened: gr.events.Dependency, settings: list, shown: list
) -> None:
    """Whenever a setting changes, say what that would do."""
    foretelling = Forecaster(trainings.jobs, trainings.sources)
    _, source, method, effort, unfreeze, *advanced = settings
    plan = {"fn": foretelling.plan, "inputs": settings, "outputs": shown}
    by_effort = effort.input(foretelling.unfreeze_of, effort, unfreeze, **QUIET)
    by_effort.then(**plan, **QUIET)
    changes = [field.input for field in (method, unfreeze)]
    changes += [field.blur if isinstance(field, gr.Textbox) else field.input for field in advanced]
    gr.on(changes, **plan, **LATEST, **QUIET)
    for event in (opened.then, source.change):
        event(foretelling.opened, settings, shown, **LATEST, **QUIET)
    # on a GPU that is lent the first training measures
    clock = gr.Timer(SECONDS_UNTIL_MEASURED, active=not on_zero_gpu())
    clock.tick(foretelling.once_measured, settings, [*shown, clock], **QUIET)


def _choices() -> tuple[gr.Radio, gr.Radio, gr.Dropdown]:
    """Method, effort, and the lowest block that learns."""
    with gr.Row():
        method = gr.Radio(
            [("Fine-tune in two phases", "finetune"), ("Feature extraction only", "features")],
            value="finetune",
            label="Method",
            info="Fine-tune: a new head warms up over the frozen body, then upper blocks learn "
            "too. Feature extraction: the body stays as it is under a linear classifier.",
            min_width=300,
        )
        effort = gr.Radio(
            [(name.capitalize(), name) for name in EFFORTS],
            value="balanced",
            label="Effort",
            info="How long it learns, and how many blocks; whatever you set yourself wins.",
            min_width=300,
        )
    unfreeze = gr.Dropdown(
        [(UNFREEZE_NAMES[name], name) for name in reversed(UNFREEZE)],
        value="block5",
        label="Unfreeze in phase 2",
        info="The more blocks learn, the more images and time they need.",
    )
    return method, effort, unfreeze


def _advanced() -> list:
    """In the order of `options.ADVANCED`. Empty means: chosen from the data."""
    with gr.Row():
        body = gr.Dropdown(
            list(WEIGHTS),
            value="auto",
            label="Body",
            info="auto: ImageNet's from the Hub if it answers, else the small bundled one; random "
            "shows what the transfer is worth.",
        )
        size = _number("Image size", "32 to 512 pixels a side; larger ones show more, slower.")
        head = gr.Textbox(
            "auto",
            label="Head",
            max_lines=1,
            info="auto tries several. Or pooling and hidden widths, like avg-256: fewer weights "
            "are easier to tune.",
        )
        views = _number("Views", "Crops and mirror images that are kept of each photo.")
    with gr.Row():
        head_epochs = _number("Warm-up epochs", "A cold head needs many, and they are cheap.")
        head_lr = _number("Warm-up learning rate", "The peak; a frozen body allows a high one.")
        finetune_epochs = _number("Fine-tune epochs", "Few: what learned much should move little.")
        finetune_lr = _number(
            "Fine-tune learning rate", "Much below warm-up's, or good filters are lost."
        )
    with gr.Row():
        optimizer = gr.Textbox(
            "",
            label="Optimizer",
            max_lines=1,
            placeholder="adamw",
            info="Any of timm's; a cold head is hard to start with sgd.",
        )
        target = _number("Target accuracy", "0 to 1: a phase ends once validation has it.", "none")
        weighed = gr.Dropdown(
            list(CLASS_WEIGHTS),
            value="auto",
            label="Class weights",
            info="So that small classes count as much; auto: where they are uneven.",
        )
    with gr.Row():
        limit = _number("Images a class", "At most, to try something quickly.", "all")
        precision = gr.Dropdown(
            list(PRECISIONS),
            value="auto",
            label="Precision",
            info="auto: the fastest one that is right on this machine.",
        )
        seed = _number("Seed", "The same one gives the same splits and the same result.", "0")
    return [
        body, size, head, views, head_epochs, head_lr, finetune_epochs, finetune_lr, optimizer,
        target, weighed, limit, precision, seed,
    ]  # fmt: skip


def _number(label: str, why: str, empty: str = "chosen from the data") -> gr.Textbox:
    """A field for a number that may be left empty, which a number field cannot be."""
    return gr.Textbox("", label=label, info=why, placeholder=empty, max_lines=1)
