"""The page: its tabs, and who hands what to whom."""

import os

import gradio as gr

from transfer.jobs import JobManager
from transfer.ui.api import Api
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.tab import data_tab
from transfer.ui.data.uploads import UploadHandlers
from transfer.ui.predict.handlers import PredictHandlers
from transfer.ui.predict.tab import try_tab
from transfer.ui.publish.handlers import PublishHandlers
from transfer.ui.publish.tab import publish_tab
from transfer.ui.shared.components import open_tab
from transfer.ui.shared.guard import SafeBlocks
from transfer.ui.shared.loaded_runs import LoadedRuns
from transfer.ui.shared.session import NEW_VISITOR, PRIVATE
from transfer.ui.shared.sign_in import BACK_TO_PUBLISH
from transfer.ui.train.handlers import TrainHandlers
from transfer.ui.train.tab import train_tab

SECONDS_BETWEEN_CLEARINGS, SECONDS_A_FILE_STAYS = 600, 3_600  # what visitors sent and fetched
MOST_WAITING_EVENTS = 500  # opening the page takes about ten


def build_page(jobs: JobManager, *, shared: bool) -> gr.Blocks:
    """`shared` is a server with strangers on it: no folders of its own disk, no others' runs."""
    sources = DataHandlers(UploadHandlers(jobs), shared=shared)
    trainings = TrainHandlers(jobs, sources)
    runs = LoadedRuns(jobs, shared=shared)
    with SafeBlocks(
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
                try_tab(PredictHandlers(runs), visitor, opened, watched[2], tries)
            with gr.Tab("Publish", id="publish") as publishes:
                publish_tab(PublishHandlers(jobs, shared=shared), visitor, publishes)
        where = gr.Textbox(visible=False)
        placed = opened.then(trainings.place, visitor, where, show_progress="hidden", **PRIVATE)
        open_tab(placed.then, where, tabs)
        placed.then(None, None, tabs, js=BACK_TO_PUBLISH, **PRIVATE)
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
