"""The first step: choose a dataset, upload one, or make classes photo by photo."""

from typing import NamedTuple

import gradio as gr

from transfer.ui.data.cards import SCRIPT
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.requests import CLEAR_OTHERS, LatestRequests
from transfer.ui.data.teaching import TeachHandlers
from transfer.ui.data.tiles import CHOOSING, FROM_SOURCE, TO_SOURCE, tiles
from transfer.ui.data.uploads import choices
from transfer.ui.shared.components import (
    AT_ONCE,
    LATEST,
    accordion,
    beside,
    note,
    on_change,
    skeleton,
)
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
# one after the other, so that an older list of classes never replaces a newer one
IN_TURN = {"concurrency_id": "own classes", "concurrency_limit": 1, **AT_ONCE, **QUIET}
# in the browser: the chosen dataset outlives a reload
REMEMBER = """source => { localStorage.setItem("transfer-source", source || ""); }"""
RESTORE = """() => {
    const value = localStorage.getItem("transfer-source");
    return {__type__: "update", ...(value && {value})};
}"""


class Chosen(NamedTuple):
    """The field with the chosen dataset, what an event looks at it by, the event after that; what
    changes one's own classes, their cards, and the event after such a change."""

    source: gr.Dropdown
    looks: dict
    seen: gr.events.Dependency
    teaching: TeachHandlers
    cards: gr.HTML
    taught: gr.events.Dependency


def data_step(
    datasets: DataHandlers, visitor: gr.BrowserState, opened: gr.events.Dependency
) -> Chosen:
    """Build the step."""
    uploads, requests = datasets.uploads, LatestRequests()
    teaching = TeachHandlers(uploads)
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
        cards, taught = _own_classes(teaching, visitor, source)
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
        others = _other_things(teaching, visitor)
    check = gr.Button("Check for problems", size="sm")
    found = gr.HTML(padding=False)
    opened.then(uploads.opened, visitor, source, **QUIET)
    opened.then(teaching.cards, visitor, cards, **IN_TURN)
    opened.then(teaching.others_card, visitor, others, **IN_TURN)
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
    seen = on_change(summary)
    seen.then(datasets.tiles, visitor, tile, **LATEST, **QUIET)
    return Chosen(source, looks | QUIET, seen, teaching, cards, taught)


def _own_classes(
    teaching: TeachHandlers, visitor: gr.BrowserState, source: gr.Dropdown
) -> tuple[gr.HTML, gr.events.Dependency]:
    """(the cards of one's classes, the event of their changes)."""
    cards = gr.HTML(skeleton(3), js_on_load=SCRIPT, elem_id="classes", padding=False)
    refused = note()
    changed = cards.input(teaching.change, visitor, [source, cards, refused], **IN_TURN)
    save = gr.Button("Save as zip", size="sm")
    download_on_click(save, teaching.uploads.download, [visitor], "fetched-photos")
    return cards, changed


def _other_things(teaching: TeachHandlers, visitor: gr.BrowserState) -> gr.HTML:
    """The card of photos that show none of the classes."""
    gr.Markdown(OTHER_THINGS)
    card = gr.HTML(skeleton(1), js_on_load=SCRIPT, elem_id="others", padding=False)
    refused = note()
    card.input(teaching.change_others, visitor, [card, refused], **IN_TURN)
    return card
