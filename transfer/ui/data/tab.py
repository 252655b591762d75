"""The Data tab: choose a dataset, upload one, or make classes photo by photo."""

import gradio as gr

from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.requests import CLEAR_OTHERS, LatestRequests
from transfer.ui.data.uploads import UploadHandlers, choices
from transfer.ui.shared.components import accordion, live_region, open_tab
from transfer.ui.shared.downloads import download_on_click
from transfer.ui.shared.session import PRIVATE, QUIET

ZIP_LABEL = (
    "A zip with one folder of images per class, or with train, validation and test folders of those"
)
OTHER_THINGS = (
    "Photos of none of your classes: the room without the thing, what is mixed up with it. Every "
    "training that you start learns from them what is “unlike anything it was taught”."
)
LARGER = ". For one of more than 50 MB type its path under Dataset instead"
AT_ONCE = {"trigger_mode": "multiple"}
# one after the other, so that an older list of classes never replaces a newer one
IN_TURN = {"concurrency_id": "own classes", "concurrency_limit": 1}


def data_tab(
    datasets: DataHandlers, visitor: gr.BrowserState, opened: gr.events.Dependency, tabs: gr.Tabs
) -> tuple[gr.Dropdown, dict]:
    """Build the tab; returns (the field with the chosen dataset, what an event shows it by)."""
    uploads, requests = datasets.uploads, LatestRequests()
    own_disk = "" if datasets.shared else ", or the path of a zip or folder"
    with gr.Row():
        source = gr.Dropdown(
            choices(),
            value="digits",
            label="Dataset",
            info=f"Choose one, or type a Hub id like user/name{own_disk}.",
            allow_custom_value=True,
            scale=4,
            min_width=300,
        )
        show = gr.Button("Show images", scale=1, min_width=140, elem_classes="low")
    with accordion("Upload a zip"):
        label = ZIP_LABEL if datasets.shared else ZIP_LABEL + LARGER
        file = gr.File(file_types=[".zip", ".ZIP"], label=label, height=150)
        remove = gr.Button("Remove the chosen upload", size="sm")
    with accordion("Make your own classes"):
        shown, use = _own_classes(uploads, visitor, source)
    with accordion("Add photos of other things"):
        others = _other_things(uploads, visitor)
    with gr.Row():
        check = gr.Button("Check for problems")
        onward = gr.Button("Train on these", variant="primary")
    found, summary = gr.HTML(), gr.HTML()  # below the buttons, so that those do not move
    opened.then(uploads.opened, visitor, [source, *shown, others], **IN_TURN, **QUIET)
    changes = (  # quiet: an error would otherwise cover the dataset field
        file.upload(uploads.upload, [visitor, file], [source, file], **QUIET),
        remove.click(uploads.remove_upload, [visitor, source], source, **QUIET),
        use.click(uploads.use, visitor, source, **QUIET),
    )
    asks = {"inputs": [visitor, source]} | AT_ONCE
    shows = {"fn": requests.latest(datasets.show), "outputs": summary} | asks
    checks = {"fn": requests.latest(datasets.check), "outputs": found} | asks
    show.click(**shows, **PRIVATE)
    check.click(**checks, concurrency_limit=2, **QUIET)
    for change in changes:  # the same name may stand for other images now
        change.success(requests.cancel_all, None, found, **QUIET).then(**shows, **PRIVATE)
    every = [source, summary, found]
    on = [field.change for field in every]
    gr.on(on, None, every, [summary, found], js=CLEAR_OTHERS, **AT_ONCE, **PRIVATE)
    source.change(requests.cancel_others, source, **AT_ONCE, **QUIET)
    open_tab(onward.click, gr.Textbox("train", visible=False), tabs)
    return source, shows | QUIET


def _own_classes(uploads: UploadHandlers, visitor: gr.BrowserState, source: gr.Dropdown) -> tuple:
    """([the classes, their photos], the button that chooses them as the dataset)."""
    with gr.Row():
        name = gr.Textbox(label="New class", placeholder="cat", max_lines=1, scale=3, min_width=200)
        add = gr.Button("Add class", scale=1, min_width=120, elem_classes="low")
    note = gr.HTML(live_region(""), padding=False)
    chosen = gr.Radio([], label="Class", info="New photos are added to this class.")
    with gr.Row():
        photos = gr.File(
            # no file_types: the browser knows neither IMG_1.HEIC nor .mpo; load_image decides
            file_count="multiple",
            label="Drop photos here",
            height=150,
        )
        camera = gr.Image(
            sources=["webcam"], type="filepath", label="Or use the camera", height=150
        )
    overview = gr.HTML()
    with gr.Row():
        use = gr.Button("Use these photos", variant="primary")
        save = gr.Button("Save as zip")
        remove = gr.Button("Remove this class")
    shown = [chosen, overview]
    for event in (add.click, name.submit):
        event(uploads.add_class, [visitor, name], [*shown, name, note], **IN_TURN, **QUIET)
    photos.upload(uploads.add_photos, [visitor, chosen, photos], [overview, photos], **QUIET)
    camera.input(uploads.add_photos, [visitor, chosen, camera], [overview, camera], **QUIET)
    remove.click(uploads.remove_class, [visitor, chosen], [source, *shown], **IN_TURN, **QUIET)
    download_on_click(save, uploads.download, [visitor], "fetched-photos")
    return shown, use


def _other_things(uploads: UploadHandlers, visitor: gr.BrowserState) -> gr.HTML:
    """Photos that show none of the classes."""
    gr.Markdown(OTHER_THINGS)
    photos = gr.File(file_count="multiple", label="Drop photos of other things here", height=150)
    overview = gr.HTML()
    remove = gr.Button("Remove these photos", size="sm")
    photos.upload(uploads.add_others, [visitor, photos], [overview, photos], **QUIET)
    remove.click(uploads.remove_others, visitor, overview, **QUIET)
    return overview
