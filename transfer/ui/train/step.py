"""The second step: how much effort, the training as it runs, and all other settings."""

import gradio as gr

from transfer.machine.environment import on_zero_gpu
from transfer.ui.data.step import Chosen
from transfer.ui.shared.components import LATEST, accordion, beside, note, skeleton
from transfer.ui.shared.session import QUIET
from transfer.ui.train.diagram import planned_diagram
from transfer.ui.train.forecast import Forecaster
from transfer.ui.train.form import FILLED, advanced_fields, effort_field
from transfer.ui.train.handlers import TrainHandlers, Training
from transfer.ui.train.status import NO_JOB

SECONDS_UNTIL_MEASURED = 3.0
# in the browser: the window's title and the tab of the trainings say how far one is, its panel
# stays in view, and its end is announced outside the window if the visitor has asked for that
FOLLOW = """
const place = document.getElementById("training"), title = document.title;
let wasLive = false;
const announce = live => {
    const asks = element.querySelector(".notify");
    if (asks) asks.hidden = window.Notification?.permission !== "default";
    if (wasLive && !live && window.Notification?.permission === "granted")
        new Notification(title, {body: element.innerText.trim()});
    wasLive = Boolean(live);
};
element.addEventListener("click", event => {
    if (event.target.matches(".notify"))
        Notification.requestPermission().then(() => announce(true));
});
const follow = () => {
    const live = element.querySelector(".status.live");
    const {done = "", title: now} = live?.querySelector("[data-title]").dataset ?? {};
    document.getElementById("runs-button").dataset.done = done;
    if (live) document.title = `${now} · ${title}`;
    else if (document.title !== title)
        document.title = `${element.querySelector("b").textContent} · ${title}`;
    const folded = place.closest(".folded")?.querySelector("h2 button");  // on a phone
    const {top, bottom} = place.getBoundingClientRect();
    const docked = live && (folded || bottom < 160 || top > innerHeight - 160);
    place.style.minHeight = docked && !folded ? `${bottom - top}px` : "";
    place.classList.toggle("docked", Boolean(docked));
};
addEventListener("scroll", follow, {passive: true});
document.addEventListener("step", follow);
watch("value", () => {
    announce(element.querySelector(".status.live"));
    follow();
});
"""


def train_step(
    trainings: TrainHandlers,
    visitor: gr.BrowserState,
    opened: gr.events.Dependency,
    chosen: Chosen,
) -> Training:
    """Build the step; what is larger than it is rendered elsewhere on the page."""
    dataset, effort = gr.HTML(skeleton(1), padding=False), effort_field()
    forecast = gr.HTML('<p class="forecast">&nbsp;</p>', padding=False)
    with gr.Column(elem_id="training"), gr.Column(elem_classes="progress-panel"):
        with gr.Row(elem_classes="actions"):
            start = gr.Button("Start training", variant="primary", scale=2, min_width=135)
            stop = gr.Button("Stop and save the result", interactive=False, scale=3, min_width=195)
            retry = gr.Button("Start again", visible=False, scale=3, min_width=140)
        refused = note()
        status = gr.HTML(NO_JOB, js_on_load=FOLLOW, padding=False)
    with accordion("Advanced settings"):
        form = {"effort": effort} | advanced_fields()
    diagram = gr.HTML(planned_diagram("finetune", "block5"), render=False)
    charts = gr.HTML(render=False)
    training = Training(status, charts, start, stop, retry, diagram, gr.State(""))
    settings = {"inputs": [visitor, chosen.source], "inputs_kwargs": form}
    for event in (
        beside(refused, start.click, trainings.start, **settings, outputs=[*training]),
        beside(refused, retry.click, trainings.retry, [visitor], [*training]),
        stop.click(trainings.stop, visitor, None, **QUIET),
    ):
        event.success(**trainings.watching(visitor, training))
    forecaster = Forecaster(trainings.jobs, trainings.datasets)
    texts = [form[name] for name in FILLED]
    shown = [dataset, effort, forecast, diagram, form["unfreeze"], *texts]
    asks = settings | {"outputs": shown} | QUIET
    # a text counts once its field is left
    left = [at.blur if isinstance(at, gr.Textbox) else at.input for at in form.values()]
    gr.on(left, forecaster.form_changed, **asks, **LATEST)
    for event in (opened.then, chosen.source.change, chosen.seen.then):
        event(forecaster.dataset_changed, **asks, **LATEST)
    # on ZeroGPU only a training can measure the speed, so the page does not wait for it
    clock = gr.Timer(SECONDS_UNTIL_MEASURED, active=not on_zero_gpu())
    clock.tick(forecaster.when_measured, **asks | {"outputs": [*shown, clock]})
    return training
