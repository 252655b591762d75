"""The first step: choose a dataset, upload one, or make classes photo by photo."""

from typing import NamedTuple

import gradio as gr

from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.requests import CLEAR_OTHERS, LatestRequests
from transfer.ui.data.tiles import CHOOSING, FROM_SOURCE, TO_SOURCE, tiles
from transfer.ui.data.uploads import UploadHandlers, choices
from transfer.ui.shared.components import LATEST, accordion, beside, note, on_change, skeleton
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
# in the browser: the chosen dataset outlives a reload
REMEMBER = """source => { localStorage.setItem("transfer-source", source || ""); }"""
RESTORE = """() => {
    const value = localStorage.getItem("transfer-source");
    return {__type__: "update", ...(value && {value})};
}"""


class Chosen(NamedTuple):
    """The field with the chosen dataset, what an event looks at it by, and the event after that."""

    source: gr.Dropdown
    looks: dict
    seen: gr.events.Dependency


def data_step(
    datasets: DataHandlers, visitor: gr.BrowserState, opened: gr.events.Dependency
) -> Chosen:
    """Build the step."""
    uploads, requests = datasets.uploads, LatestRequests()
    own_disk = "" if datasets.shared else ", or the path of a zip or folder"
    source = gr.Dropdown(
        choices(),
        value="digits",
        label="Dataset",
        info=f"Or type a Hub id like user/name{own_disk}.",
        allow_custom_value=True,
        scale=4,
        min_width=200,
        render=False,
    )
    tile = gr.HTML(tiles(), js_on_load=CHOOSING, elem_id="tiles", padding=False)
    with gr.Column(elem_classes="own-photos"):
        shown = _own_classes(uploads, visitor, source)
    with gr.Row():
        source.render()
        show = gr.Button("Show images", scale=1, min_width=130, elem_classes="low")
    summary = gr.HTML(skeleton(3), elem_classes="summary", padding=False)
    with accordion("Upload a zip"):
        label = ZIP_LABEL if datasets.shared else ZIP_LABEL + LARGER
        file = gr.File(file_types=[".zip", ".ZIP"], label=label, height=150)
        remove = gr.Button("Remove the chosen upload", size="sm")
        refused = note()
    with accordion("Add photos of other things"):
        others = _other_things(uploads, visitor)
    check = gr.Button("Check for problems", size="sm")
    found = gr.HTML(padding=False)
    opened.then(uploads.opened, visitor, [source, *shown, others], **IN_TURN, **QUIET)
    tile.input(None, None, source, js=TO_SOURCE, **PRIVATE)
    changes = (
        beside(refused, file.upload, uploads.upload, [visitor, file], [source, file]),
        beside(refused, remove.click, uploads.remove_upload, [visitor, source], [source]),
    )
    asks = {"inputs": [visitor, source]} | AT_ONCE
    looks = {"fn": requests.latest(datasets.look), "outputs": summary} | asks
    shows = {"fn": requests.latest(datasets.show), "outputs": summary} | asks
    checks = {"fn": requests.latest(datasets.check), "outputs": found} | asks
    show.click(**shows, **PRIVATE)
    check.click(**checks, concurrency_limit=2, **QUIET)
    for change in changes:  # the same name may stand for other images now
        change.success(requests.cancel_all, None, found, **QUIET).then(**looks, **QUIET)
    every = [source, summary, found]
    on = [field.change for field in every]
    gr.on(on, None, every, [summary, found], js=CLEAR_OTHERS, **AT_ONCE, **PRIVATE)
    source.change(requests.cancel_others, source, **AT_ONCE, **QUIET).then(**looks, **QUIET)
    for js in (REMEMBER, FROM_SOURCE):
        source.change(None, source, None, js=js, **AT_ONCE, **PRIVATE)
    opened.then(None, None, source, js=RESTORE, **PRIVATE)
    on_change(shown[1]).then(**looks, **QUIET)
    seen = on_change(summary)
    seen.then(datasets.tiles, visitor, tile, **LATEST, **QUIET)
    return Chosen(source, looks | QUIET, seen)


def _own_classes(uploads: UploadHandlers, visitor: gr.BrowserState, source: gr.Dropdown) -> list:
    """[the classes, their photos]."""
    with gr.Row():
        name = gr.Textbox(label="New class", placeholder="cat", max_lines=1, scale=3, min_width=200)
        add = gr.Button("Add class", scale=1, min_width=120, elem_classes="low")
    refused = note()
    chosen = gr.Radio([], label="Class", info="New photos are added to this class.")
    with gr.Row():
        photos = gr.File(
            # no file_types: the browser knows neither IMG_1.HEIC nor .mpo; load_image decides
            file_count="multiple",
            label="Drop photos here",
            height=140,
            min_width=300,
        )
        camera = gr.Image(
            sources=["webcam"],
            type="filepath",
            label="Or use the camera",
            height=140,
            min_width=300,
        )
    overview = gr.HTML()
    with gr.Row():
        save = gr.Button("Save as zip", size="sm")
        remove = gr.Button("Remove this class", size="sm")
    shown, changed = [chosen, overview], [source, chosen, overview]
    for event in (add.click, name.submit):
        beside(refused, event, uploads.add_class, [visitor, name], [*shown, name], **IN_TURN)
    for event, field in ((photos.upload, photos), (camera.input, camera)):
        event(uploads.add_photos, [visitor, chosen, field], [overview, field, refused], **QUIET)
    beside(refused, remove.click, uploads.remove_class, [visitor, chosen], changed, **IN_TURN)
    download_on_click(save, uploads.download, [visitor], "fetched-photos")
    return shown


def _other_things(uploads: UploadHandlers, visitor: gr.BrowserState) -> gr.HTML:
    """Photos that show none of the classes."""
    gr.Markdown(OTHER_THINGS)
    photos = gr.File(file_count="multiple", label="Drop photos of other things here", height=150)
    overview, refused = gr.HTML(), note()
    remove = gr.Button("Remove these photos", size="sm")
    photos.upload(uploads.add_others, [visitor, photos], [overview, photos, refused], **QUIET)
    remove.click(uploads.remove_others, visitor, overview, **QUIET)
    return overview
