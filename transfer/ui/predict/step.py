"""The third step: pictures or a drawing, what a run predicts for them, and why."""

import gradio as gr
from PIL import Image

from transfer.ui.predict.cards import EMPTY
from transfer.ui.predict.handlers import VIEWS, PredictHandlers
from transfer.ui.shared.components import LATEST, on_change, open_tab, skeleton
from transfer.ui.shared.loaded_runs import EXAMPLE
from transfer.ui.shared.session import PRIVATE, QUIET

# The drawing goes through a hidden image: a sketchpad that is an input itself would send all its
# pictures again at every later event of the page.
TO_IMAGE = "drawing => drawing && drawing.composite"
# A run that the visitor selected while the newest was being looked up stays selected.
SELECT_NEWEST = """([asked, newest], run) =>
    ({__type__: "update", ...(run === asked && {value: newest})})"""
# In the browser: which of the examples was clicked.
CLICKED = """element.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (button) trigger("click", {place: Number(button.dataset.place)});
});"""
# two at once, since each uses all cores
CLASSIFIES = {"concurrency_limit": 2, "concurrency_id": "classify"} | PRIVATE


def try_step(
    handlers: PredictHandlers,
    visitor: gr.BrowserState,
    opened: gr.events.Dependency,
    result: gr.HTML,
    taught: gr.events.Dependency,
) -> tuple[gr.Dropdown, dict]:
    """Build the step; returns (the field with the chosen run, what an event lists the runs by).

    `result` changes at the end of a training, so that its run can be selected; after `taught`, a
    visitor's own classes have changed."""
    run = gr.Dropdown(
        handlers.runs.choices(""),
        value=EXAMPLE,
        label="Run",
        info="Choose one, or type a model on the Hub: user/name or its link.",
        allow_custom_value=True,
    )
    about = gr.HTML(min_height=24)
    with gr.Row(elem_classes="try"):
        with gr.Column(min_width=280):
            examples = gr.HTML(skeleton(1), js_on_load=CLICKED, elem_classes="tries", padding=False)
            tabs, drawing, ask, files, camera = _inputs()
        with gr.Column(min_width=300):
            view = gr.Radio(VIEWS, value="predictions", label="Show")
            label = gr.Dropdown(
                [("best class", "")],
                value="",
                label="Heat map for the class",
                allow_custom_value=True,
                visible=False,
            )
            shown, asked = gr.HTML(EMPTY, elem_classes="shown"), gr.State([])
    known, answer = [visitor, run, view, label], [shown, asked]
    drawn = gr.Image(type="pil", visible=False)
    copied = ask.click(None, drawing, drawn, js=TO_IMAGE, **PRIVATE)
    for event, given in ((copied.then, drawn), (files.change, files), (camera.change, camera)):
        event(handlers.ask, [*known, given], answer, **CLASSIFIES)
    examples.click(handlers.ask_example, known, answer, **CLASSIFIES)
    run_changed, view_changed = on_change(run), on_change(view)
    view_changed.then(
        lambda view: gr.Dropdown(visible=view == "heat"), view, label, **LATEST, **QUIET
    )
    for event in (run_changed.then, view_changed.then, label.change):
        event(handlers.again, [*known, asked], answer, **LATEST, **CLASSIFIES)
    live = taught.then(handlers.taught, visitor, run, **QUIET)
    live.then(handlers.again, [*known, asked], answer, **LATEST, **CLASSIFIES)
    lists = _keep_runs_up_to_date(handlers, visitor, run, (opened.then, result.change))
    input_tab = gr.Textbox(visible=False)
    found = run_changed.then(handlers.input_tab, [visitor, run], input_tab, **LATEST, **QUIET)
    open_tab(found.then, input_tab, tabs)
    for event in (opened, run_changed):
        event.then(handlers.examples, [visitor, run], examples, **LATEST, **QUIET)
        described = event.then(handlers.describe, [visitor, run], [about, label], **LATEST, **QUIET)
        described.then(handlers.preload, [visitor, run], None, **QUIET)
    return run, lists


def _keep_runs_up_to_date(handlers: PredictHandlers, visitor, run, events) -> dict:
    """List the runs at each of `events` and select a new one; returns what lists them."""
    seen, newest = gr.State([]), gr.JSON(visible=False)
    listed = {"fn": handlers.listed, "inputs": [visitor, run], "outputs": run} | QUIET
    for event in events:
        found = event(**listed).then(handlers.newest, [visitor, run, seen], [newest, seen], **QUIET)
        found.success(None, [newest, run], run, js=SELECT_NEWEST, **PRIVATE)
    return listed


def _inputs() -> tuple[gr.Tabs, gr.Sketchpad, gr.Button, gr.File, gr.Image]:
    with gr.Tabs(selected="photos") as tabs:
        with gr.Tab("Draw", id="draw"):
            white = Image.new("RGB", (280, 280), "white")
            drawing = gr.Sketchpad(
                # without a background the brush is not selected at first
                value={"background": white, "layers": [], "composite": white},
                type="pil",
                label="Your digit",
                height=340,
                canvas_size=(280, 280),
                brush=gr.Brush(default_size=18, colors=["#000000"], color_mode="fixed"),
                layers=False,
            )
            ask = gr.Button("What is it?", variant="primary")
        with gr.Tab("Photos", id="photos"):
            files = gr.File(
                file_count="multiple",
                # no file_types: the browser knows neither IMG_1.HEIC nor .mpo; load_image decides
                label="Drop pictures here",
                height=300,
                elem_id="try-photos",
            )
        with gr.Tab("Camera or clipboard", id="camera"):
            camera = gr.Image(
                type="filepath",
                image_mode=None,
                sources=["webcam", "clipboard"],
                label="Your picture",
                height=300,
            )
    return tabs, drawing, ask, files, camera
