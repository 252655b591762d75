"""The Try it tab: pictures or a drawing, what a run takes them for, and why."""

import gradio as gr
from PIL import Image

from transfer.ui.predict.cards import EMPTY
from transfer.ui.predict.handlers import VIEWS, PredictHandlers
from transfer.ui.shared.components import LATEST, on_change, open_tab
from transfer.ui.shared.loaded_runs import EXAMPLE
from transfer.ui.shared.session import PRIVATE, QUIET

# gradio asks what has gone to the server once at each later event of the page, and a sketchpad
# answers by sending its pictures anew
HANDS_OVER = "drawing => drawing && drawing.composite"
# while the newest run was on its way
UNLESS_CHOSEN_BY_HAND = """([asked, newest], run) =>
    ({__type__: "update", ...(run === asked && {value: newest})})"""
# few at once: each takes all cores for a moment
CLASSIFIES = {"concurrency_limit": 2, "concurrency_id": "classify"} | PRIVATE


def try_tab(
    trying: PredictHandlers,
    visitor: gr.BrowserState,
    opened: gr.events.Dependency,
    result: gr.HTML,
    tab: gr.Tab,
) -> None:
    """`result` changes when a training has ended, so that its run can be chosen; each time that
    `tab` is looked at, runs may have got other names, or have gone."""
    run = gr.Dropdown(
        trying.runs.choices(""),
        value=EXAMPLE,
        label="Run",
        info="Choose one, or type a model on the Hub: user/name or its link.",
        allow_custom_value=True,
    )
    about = gr.HTML(min_height=24)
    with gr.Row(elem_classes="try"):
        with gr.Column(min_width=280):
            ways, drawing, ask, files, camera = _ways_in()
        with gr.Column(min_width=300):
            view = gr.Radio(
                [(text, name) for name, text in VIEWS.items()], value="answers", label="Show"
            )
            label = gr.Dropdown(
                [("the best one", "")],
                value="",
                label="Heat map for the class",
                allow_custom_value=True,
                visible=False,
            )
            shown, asked = gr.HTML(EMPTY, elem_classes="shown"), gr.State([])
    known, answered = [visitor, run, view, label], [shown, asked]
    drawn = gr.Image(type="pil", visible=False)
    handed = ask.click(None, drawing, drawn, js=HANDS_OVER, **PRIVATE)
    handed.then(trying.drawing, [*known, drawn], answered, **CLASSIFIES)
    files.change(trying.photos, [*known, files], answered, **CLASSIFIES)
    camera.change(trying.camera, [*known, camera], answered, **CLASSIFIES)
    run_changed, view_changed = on_change(run), on_change(view)
    view_changed.then(_only_in_heat, view, label, **LATEST, **QUIET)
    for event in (run_changed.then, view_changed.then, label.change):
        event(trying.again, [*known, asked], answered, **LATEST, **CLASSIFIES)
    seen, newest = gr.State([]), gr.JSON(visible=False)
    listed = {"fn": trying.listed, "inputs": [visitor, run], "outputs": run} | QUIET
    for event in (opened.then, result.change):
        told = event(**listed).then(trying.newest, [visitor, run, seen], [newest, seen], **QUIET)
        told.success(None, [newest, run], run, js=UNLESS_CHOSEN_BY_HAND, **PRIVATE)
    tab.select(**listed)
    way = gr.Textbox(visible=False)
    found = run_changed.then(trying.way_in, [visitor, run], way, **LATEST, **QUIET)
    open_tab(found.then, way, ways)
    # what is chosen as the page opens is told as well
    for event in (opened, run_changed):
        told = event.then(trying.chosen, [visitor, run], [about, label], **LATEST, **QUIET)
        told.then(trying.warm, [visitor, run], None, **QUIET)


def _only_in_heat(view: str) -> gr.Dropdown:
    return gr.Dropdown(visible=view == "heat")


def _ways_in() -> tuple:
    """(the tabs, a drawing, the button that asks about it, files, a camera's picture)."""
    with gr.Tabs(selected="draw") as ways:
        with gr.Tab("Draw", id="draw"):
            drawing = _sketchpad()
            ask = gr.Button("What is it?", variant="primary")
        with gr.Tab("Photos", id="photos"):
            files = gr.File(
                file_count="multiple",
                file_types=["image"],
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
    return ways, drawing, ask, files, camera


def _sketchpad() -> gr.Sketchpad:
    white = Image.new("RGB", (280, 280), "white")
    return gr.Sketchpad(
        # a background, for without one the brush waits to be chosen
        value={"background": white, "layers": [], "composite": white},
        type="pil",
        label="Your digit",
        height=340,
        canvas_size=(280, 280),
        brush=gr.Brush(default_size=18, colors=["#000000"], color_mode="fixed"),
        layers=False,
    )
