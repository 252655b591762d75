"""The Data tab: a data set that is there, an upload, or classes made photo by photo."""

import gradio as gr

from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.requests import OF_THE_SOURCE, RequestTracker
from transfer.ui.data.uploads import UploadHandlers, choices
from transfer.ui.shared.components import accordion, open_tab
from transfer.ui.shared.downloads import download_on_click
from transfer.ui.shared.session import PRIVATE, QUIET

AT_ONCE = {"trigger_mode": "multiple"}
# what was read of the classes before one was added must not be told after it
IN_TURN = {"concurrency_id": "own classes", "concurrency_limit": 1}


def data_tab(
    sources: DataHandlers,
    visitor: gr.BrowserState,
    opened: gr.events.Dependency,
    tabs: gr.Tabs,
) -> gr.Dropdown:
    """The source that is chosen."""
    own, questions = sources.own, RequestTracker()
    kinds = "a Hub id like user/name" + ("" if sources.shared else ", a zip or a folder of classes")
    with gr.Row():
        source = gr.Dropdown(
            choices(),
            value="digits",
            label="Images",
            info=f"Choose, or type {kinds}.",
            allow_custom_value=True,
            scale=4,
            min_width=300,
        )
        show = gr.Button("Show images", scale=1, min_width=140, elem_classes="low")
    with accordion("Upload a zip"):
        file, drop = _upload()
    with accordion("Make your own classes"):
        shown, use = _own_classes(own, visitor, source)
    with gr.Row():
        look = gr.Button("Look for problems")
        onward = gr.Button("Train on these", variant="primary")
    found, summary = gr.HTML(), gr.HTML()  # below all buttons, which stay where they are
    opened.then(own.at_hand, visitor, [source, *shown], **IN_TURN, **QUIET)
    others = (  # quiet, for what went wrong would lie over the source
        file.upload(own.upload, [visitor, file], [source, file], **QUIET),
        drop.click(own.remove_upload, [visitor, source], source, **QUIET),
        use.click(own.use, visitor, source, **QUIET),
    )
    asks = {"inputs": [visitor, source]} | AT_ONCE
    shows = {"fn": questions.answered(sources.show), "outputs": summary} | asks
    looks = {"fn": questions.answered_in_steps(sources.look), "outputs": found} | asks
    opened.then(**shows, **QUIET)
    show.click(**shows, **PRIVATE)
    look.click(**looks, concurrency_limit=2, **QUIET)
    for other in others:  # its images may be new ones under the same name
        other.success(questions.forget, None, found, **QUIET).then(**shows, **PRIVATE)
    gr.on(
        [source.change, summary.change, found.change],
        None,
        [source, summary, found],
        [summary, found],
        js=OF_THE_SOURCE,
        **AT_ONCE,
        **PRIVATE,
    )
    source.change(questions.turn_to, source, **AT_ONCE, **QUIET)
    open_tab(onward.click, gr.Textbox("train", visible=False), tabs)
    return source


def _upload() -> tuple:
    """(a file to upload, the button that removes one)."""
    file = gr.File(
        file_types=[".zip"],
        label="A zip with a folder of images a class, or train, validation and test of such",
        height=120,
    )
    return file, gr.Button("Remove the chosen upload", size="sm")


def _own_classes(own: UploadHandlers, visitor: gr.BrowserState, source: gr.Dropdown) -> tuple:
    """(what shows the classes, the button that makes them the source)."""
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
        event(own.add_class, [visitor, name], [*shown, name], **IN_TURN, **PRIVATE)
    photos.upload(own.add_photos, [visitor, chosen, photos], [overview, photos], **PRIVATE)
    camera.input(own.add_photos, [visitor, chosen, camera], [overview, camera], **PRIVATE)
    remove.click(own.remove_class, [visitor, chosen], [source, *shown], **IN_TURN, **QUIET)
    download_on_click(save, own.download, [visitor], "fetched-photos")
    return shown, use
