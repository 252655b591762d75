"""The third step: pictures or a drawing, what a run predicts for them, and why."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from transfer.ui.predict.cards import EMPTY
from transfer.ui.predict.handlers import VIEWS, PredictHandlers
from transfer.ui.predict.latest import Page
from transfer.ui.shared.components import AT_ONCE, LATEST, note, on_change, skeleton
from transfer.ui.shared.downloads import download_on_click
from transfer.ui.shared.images import CAMERA_SCRIPT
from transfer.ui.shared.loaded_runs import EXAMPLE
from transfer.ui.shared.session import PRIVATE, QUIET

SCRIPTS = {path.stem: path.read_text("utf-8") for path in Path(__file__).parent.glob("*.js")}
DRAWING = """<canvas width="280" height="280" role="img" aria-label="A square to draw in"></canvas>
<p>Draw one large digit; it is answered when you lift the pen.</p>
<button type="button" class="plain">Clear</button>"""
CAMERA = """<div class="viewer"><video muted playsinline></video><canvas></canvas></div>
<p role="status"></p>
<button type="button" class="plain">Use the camera</button>
<button type="button" class="plain">Paste a picture</button>"""
# A run that the visitor selected while the newest was being looked up stays selected.
SELECT_NEWEST = """([asked, newest], run) =>
    ({__type__: "update", ...(run === asked && {value: newest})})"""
# In the browser: the chosen run and view outlive a reload.
REMEMBER = """value => {{ localStorage.setItem("transfer-{}", value || ""); }}"""
RESTORE = f"""(run, view) => {{
    const seen = localStorage.getItem("transfer-view"), known = {[name for _, name in VIEWS]};
    return [localStorage.getItem("transfer-run") || run, known.includes(seen) ? seen : view];
}}"""
# In the browser: which of the examples was clicked.
CLICKED = """element.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (button) trigger("click", {place: Number(button.dataset.place)});
});"""
# begun at once, as a newer question ends an older one
ASKS = {"concurrency_limit": None} | AT_ONCE | PRIVATE


class Trying(NamedTuple):
    """The field with the chosen run, what an event lists the runs by; the page with the pictures
    that were asked about, and the class, the button and the note of a correction; `follow` answers
    again after a visitor's own classes have changed."""

    run: gr.Dropdown
    lists: dict
    page: gr.State
    right: gr.Dropdown
    correct: gr.Button
    uncorrected: gr.HTML
    follow: Callable[[gr.events.Dependency], None]


def try_step(
    handlers: PredictHandlers,
    visitor: gr.BrowserState,
    opened: gr.events.Dependency,
    result: gr.HTML,
) -> Trying:
    """Build the step. `result` changes at the end of a training, whose run can be selected then."""
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
            tabs, drawing, files, camera = _inputs()
        with gr.Column(min_width=300):
            view = gr.Radio(VIEWS, value="predictions", label="Show")
            label = gr.Dropdown(
                [("best class", "")],
                value="",
                label="Heat map for the class",
                allow_custom_value=True,
                visible=False,
            )
            shown = gr.HTML(EMPTY, js_on_load=SCRIPTS["answers"], elem_classes="shown")
            save, page = gr.Button("Save as CSV", size="sm", elem_classes="save"), gr.State(Page())
            with gr.Row(visible=False, elem_classes="correction") as correction:
                right = gr.Dropdown([], label="Wrong? Choose what it shows", min_width=150, scale=2)
                correct = gr.Button("Correct it", min_width=110, scale=1, elem_classes="low")
            uncorrected = note()
    known = [page, visitor, run, view, label]
    for changed in (files.upload, files.delete, files.clear):
        changed(handlers.ask_files, [*known, files], shown, **ASKS)
    drawing.input(handlers.ask_drawing, [*known, drawing], shown, **ASKS | QUIET)
    camera.input(handlers.ask_photo, [*known, camera], shown, **ASKS | QUIET | LATEST)
    download_on_click(save, handlers.save, [visitor, page], "fetched-answers")
    examples.click(handlers.ask_example, known, shown, **ASKS)
    run_changed, view_changed = on_change(run), on_change(view)
    view_changed.then(
        lambda view: gr.Dropdown(visible=view == "heat"), view, label, **LATEST, **QUIET
    )
    for event in (run_changed.then, view_changed.then, label.change):
        event(handlers.again, known, shown, **ASKS)
    restored = opened.then(None, [run, view], [run, view], js=RESTORE, **PRIVATE)
    restored.then(handlers.restore, known, [files, drawing, shown], **ASKS | QUIET)
    lists = _keep_runs_up_to_date(handlers, visitor, run, restored, result)
    run_changed.then(handlers.input_tab, [visitor, run], tabs, **LATEST, **QUIET)
    for event in (opened, run_changed):
        event.then(handlers.examples, [visitor, run], examples, **LATEST, **QUIET)
        described = event.then(handlers.describe, [visitor, run], [about, label], **LATEST, **QUIET)
        described.then(handlers.preload, [visitor, run], None, **QUIET)
    correcting = {"fn": handlers.corrections, "inputs": [visitor, run]} | QUIET
    correcting["outputs"] = [correction, right]
    run_changed.then(**correcting, **LATEST)
    for field, name in ((run, "run"), (view, "view")):
        field.change(None, field, None, js=REMEMBER.format(name), **AT_ONCE, **PRIVATE)

    def follow(taught: gr.events.Dependency) -> None:
        live = taught.then(handlers.taught, visitor, run, **QUIET)
        live.then(handlers.again, known, shown, **ASKS)
        live.then(**correcting, **LATEST)
        live.then(handlers.describe, [visitor, run], [about, label], **LATEST, **QUIET)

    return Trying(run, lists, page, right, correct, uncorrected, follow)


def _keep_runs_up_to_date(handlers: PredictHandlers, visitor, run, restored, result) -> dict:
    """List the runs, and select a new one; returns what lists them."""
    seen, newest = gr.State([]), gr.JSON(visible=False)
    listed = {"fn": handlers.listed, "inputs": [visitor, run], "outputs": run} | QUIET
    for event in (restored.then, result.change):
        found = event(**listed).then(handlers.newest, [visitor, run, seen], [newest, seen], **QUIET)
        found.success(None, [newest, run], run, js=SELECT_NEWEST, **PRIVATE)
    return listed


def _inputs() -> tuple[gr.Tabs, gr.HTML, gr.File, gr.HTML]:
    with gr.Tabs(selected="photos") as tabs:
        with gr.Tab("Draw", id="draw"):
            drawing = _custom(DRAWING, "drawing", SCRIPTS["drawing"])
        with gr.Tab("Photos", id="photos"):
            files = gr.File(
                file_count="multiple",
                # no file_types: the browser knows neither IMG_1.HEIC nor .mpo; load_image decides
                label="Drop pictures here",
                height=300,
                elem_id="try-photos",
            )
        with gr.Tab("Camera or clipboard", id="camera"):
            camera = _custom(CAMERA, "camera", CAMERA_SCRIPT + SCRIPTS["camera"])
    return tabs, drawing, files, camera


def _custom(html: str, name: str, script: str) -> gr.HTML:
    """A part of the page with a script of its own; its value is a picture as a data URL."""
    return gr.HTML(html_template=html, js_on_load=script, elem_classes=name, padding=False)
