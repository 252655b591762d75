"""The Data tab: a data set that is there, an upload, or classes made photo by photo."""

import gradio as gr

from transfer.source.presets import PRESETS
from transfer.ui.fetch import fetches
from transfer.ui.fold import fold
from transfer.ui.own import OwnData
from transfer.ui.sources import Sources
from transfer.ui.visitor import PRIVATE


def data_tab(sources: Sources, visitor: gr.BrowserState, tabs: gr.Tabs) -> tuple:
    """(the source, what shows a visitor's own classes, what shows the source)."""
    kinds = "a Hub id like user/name" + ("" if sources.shared else ", a zip or a folder of classes")
    with gr.Row():
        source = gr.Dropdown(
            [(preset.title, preset.source) for preset in PRESETS],
            value="digits",
            label="Images",
            info=f"Choose, or type {kinds}.",
            allow_custom_value=True,
            scale=4,
            min_width=300,
        )
        show = gr.Button("Show images", scale=1, min_width=140, elem_classes="low")
    with fold("Upload a zip"):
        uploaded = _upload(sources.own, visitor, source)
    with fold("Make your own classes"):
        own, made = _own_classes(sources.own, visitor, source)
    summary, found = gr.HTML(), gr.HTML()
    with gr.Row():
        look = gr.Button("Look for problems")
        onward = gr.Button("Train on these", variant="primary")
    shown = {"fn": sources.show, "inputs": [visitor, source], "outputs": summary}
    show.click(**shown, **PRIVATE)
    uploaded.success(**shown, **PRIVATE)
    made.success(**shown, **PRIVATE)
    look.click(
        sources.look,
        [visitor, source],
        found,
        show_progress="hidden",
        concurrency_limit=2,
        **PRIVATE,
    )
    for event in (source.input, uploaded.success, made.success):
        event(lambda: "", None, found, show_progress="hidden", **PRIVATE)
    source.input(lambda: "", None, summary, show_progress="hidden", **PRIVATE)
    onward.click(lambda: gr.Tabs(selected="train"), None, tabs, **PRIVATE)
    return source, own, summary


def _upload(own: OwnData, visitor: gr.BrowserState, source: gr.Dropdown):
    """The event that makes an upload the source."""
    file = gr.File(
        file_types=[".zip"],
        label="A zip with a folder of images a class, or train, validation and test of such",
        height=120,
    )
    return file.upload(own.upload, [visitor, file], source, **PRIVATE)


def _own_classes(own: OwnData, visitor: gr.BrowserState, source: gr.Dropdown) -> tuple:
    """(what shows the classes, the event that makes them the source)."""
    with gr.Row():
        name = gr.Textbox(label="New class", placeholder="cat", max_lines=1, scale=3, min_width=200)
        add = gr.Button("Add class", scale=1, min_width=120, elem_classes="low")
    chosen = gr.Radio([], label="Class", info="Photos go into this one.")
    with gr.Row():
        photos = gr.File(
            file_count="multiple", file_types=["image"], label="Drop photos here", height=150
        )
        camera = gr.Image(sources=["webcam"], type="filepath", label="Or photograph", height=150)
    overview = gr.HTML()
    with gr.Row():
        use = gr.Button("Use these photos", variant="primary")
        save = gr.Button("Save as zip")
        remove = gr.Button("Remove this class")
    shown = [chosen, overview]
    for event in (add.click, name.submit):
        event(own.add_class, [visitor, name], [*shown, name], **PRIVATE)
    photos.upload(own.add_photos, [visitor, chosen, photos], [overview, photos], **PRIVATE)
    camera.input(own.add_photos, [visitor, chosen, camera], [overview, camera], **PRIVATE)
    remove.click(own.remove_class, [visitor, chosen], shown, **PRIVATE)
    fetches(save, own.download, [visitor], "fetched-photos")
    return shown, use.click(own.use, visitor, source, **PRIVATE)
