"""The Train tab: the settings, the forecast, the training as it runs, and finished runs."""

import json

import gradio as gr

from transfer.machine.environment import on_zero_gpu
from transfer.training.defaults import EFFORTS
from transfer.ui.runs.handlers import RunHandlers
from transfer.ui.runs.section import runs_section
from transfer.ui.shared.components import LATEST
from transfer.ui.shared.session import PRIVATE, QUIET
from transfer.ui.train.diagram import planned_diagram
from transfer.ui.train.forecast import Forecaster
from transfer.ui.train.form import build_form
from transfer.ui.train.handlers import TrainHandlers
from transfer.ui.train.status import NO_JOB

SECONDS_UNTIL_MEASURED = 3.0


def train_tab(
    trainings: TrainHandlers,
    visitor: gr.BrowserState,
    opened: gr.events.Dependency,
    source: gr.Dropdown,
) -> list:
    """Build the tab; returns the components that `TrainHandlers.watch` updates."""
    form = build_form()
    forecast = gr.HTML('<p class="forecast">&nbsp;</p>')
    with gr.Row():
        start = gr.Button("Start training", variant="primary", scale=4, min_width=180)
        stop = gr.Button("Stop and save the result", interactive=False, scale=5, min_width=220)
        retry = gr.Button("Start again", visible=False, scale=3, min_width=140)
    diagram = gr.HTML(planned_diagram("finetune", "block5"))
    status, charts, report = gr.HTML(NO_JOB), gr.HTML(), gr.HTML()
    shown_run = gr.State("")
    watched = [status, charts, report, start, stop, retry, diagram, shown_run]
    watch = {"fn": trainings.watch, "inputs": visitor, "outputs": watched}
    watch |= {"concurrency_limit": None} | QUIET
    settings = {"inputs": [visitor, source], "inputs_kwargs": form}
    for event in (
        start.click(trainings.start, **settings, outputs=watched, **QUIET),
        retry.click(trainings.retry, visitor, watched, **QUIET),
        stop.click(trainings.stop, visitor, None, **QUIET),
    ):
        event.success(**watch)
    forecaster = Forecaster(trainings.jobs, trainings.datasets)
    shown = [form["effort"], forecast, diagram]
    asks = settings | {"outputs": shown} | QUIET
    # an effort first sets the block to unfreeze; a text counts once its field is left
    effort, blocks = form["effort"], {name: effort.unfreeze for name, effort in EFFORTS.items()}
    # in the browser: Start may be pressed before a server on a busy machine has answered
    to_block = f"name => ({json.dumps(blocks)})[name]"
    by_effort = effort.input(None, effort, form["unfreeze"], js=to_block, **PRIVATE)
    by_effort.then(forecaster.form_changed, **asks)
    others = [field for name, field in form.items() if name != "effort"]
    left = [field.blur if isinstance(field, gr.Textbox) else field.input for field in others]
    gr.on(left, forecaster.form_changed, **asks, **LATEST)
    for event in (opened.then, source.change):
        event(forecaster.dataset_changed, **asks, **LATEST)
    # on ZeroGPU only a training can measure the speed, so the page does not wait for it
    clock = gr.Timer(SECONDS_UNTIL_MEASURED, active=not on_zero_gpu())
    clock.tick(forecaster.when_measured, **asks | {"outputs": [*shown, clock]})
    runs_section(RunHandlers(trainings.jobs), visitor, opened, report, shown_run, watch)
    return watched
