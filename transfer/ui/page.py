"""The page: its tabs, and who hands what to whom."""

import os

import gradio as gr

from transfer.jobs import Jobs
from transfer.ui.api import Api
from transfer.ui.data_tab import data_tab
from transfer.ui.discreet import Discreet
from transfer.ui.own import OwnData
from transfer.ui.publish_tab import publish_tab
from transfer.ui.publishing import Publishing
from transfer.ui.runs import Runs
from transfer.ui.sign_in import COMES_BACK
from transfer.ui.sources import Sources
from transfer.ui.train_tab import train_tab
from transfer.ui.trainings import Trainings
from transfer.ui.try_tab import try_tab
from transfer.ui.trying import Trying
from transfer.ui.turn import turns
from transfer.ui.visitor import NEW_VISITOR, PRIVATE

SECONDS_BETWEEN_CLEARINGS, SECONDS_A_FILE_STAYS = 600, 3_600  # what visitors sent and fetched
MOST_WAITING_EVENTS = 500  # opening the page takes about ten


def build_page(jobs: Jobs, *, shared: bool) -> gr.Blocks:
    """`shared` is a server with strangers on it: no folders of its own disk, no others' runs."""
    sources = Sources(OwnData(jobs), shared=shared)
    trainings = Trainings(jobs, sources)
    runs = Runs(jobs, shared=shared)
    with Discreet(
        title="Teach VGG16 something new",
        analytics_enabled=False,
        delete_cache=(SECONDS_BETWEEN_CLEARINGS, SECONDS_A_FILE_STAYS),
    ) as page:
        gr.Markdown(
            "# Teach VGG16 something new\nPick labelled images, watch the network learn them in "
            "two phases, then try it on a picture of your own."
        )
        visitor = gr.BrowserState(
            "", storage_key="transfer-visitor", secret=os.environ.get("TRANSFER_SECRET", "local")
        )
        opened = page.load(None, visitor, visitor, js=NEW_VISITOR, **PRIVATE)
        with gr.Tabs() as tabs:
            with gr.Tab("Data", id="data"):
                source = data_tab(sources, visitor, opened, tabs)
            with gr.Tab("Train", id="train"):
                watched = train_tab(trainings, visitor, opened, source)
            with gr.Tab("Try it", id="try") as tries:
                try_tab(Trying(runs), visitor, opened, watched[2], tries)
            with gr.Tab("Publish", id="publish") as publishes:
                publish_tab(Publishing(jobs, shared=shared), visitor, publishes)
        where = gr.Textbox(visible=False)
        placed = opened.then(trainings.place, visitor, where, show_progress="hidden", **PRIVATE)
        turns(placed.then, where, tabs)
        placed.then(None, None, tabs, js=COMES_BACK, **PRIVATE)
        opened.then(
            trainings.watch,
            visitor,
            watched,
            concurrency_limit=None,
            show_progress="hidden",
            **PRIVATE,
        )
        if lent := jobs.limits.described():
            gr.Markdown("**On this server.** " + " ".join(lent), elem_classes="lent")
        Api(trainings, runs).offer()
    return page.queue(max_size=MOST_WAITING_EVENTS, api_open=False, default_concurrency_limit=8)
