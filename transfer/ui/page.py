"""The page: its tabs, and what they share."""

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
from transfer.ui.shared.downloads import SECONDS_A_FILE_STAYS
from transfer.ui.shared.guard import SafeBlocks
from transfer.ui.shared.links import QUERY, follow_link
from transfer.ui.shared.loaded_runs import LoadedRuns
from transfer.ui.shared.session import NEW_VISITOR, PRIVATE, QUIET
from transfer.ui.shared.sign_in import BACK_TO_PUBLISH
from transfer.ui.train.handlers import TrainHandlers
from transfer.ui.train.tab import train_tab

SECONDS_BETWEEN_DELETIONS = 600  # of files that visitors uploaded or downloaded
MOST_QUEUED_EVENTS = 500  # opening the page takes about ten
INTRODUCTION = (
    "# Teach VGG16 something new\nChoose labelled images, watch the network learn them in two "
    "phases, then try it on a picture of your own."
)


def build_page(jobs: JobManager, *, shared: bool) -> gr.Blocks:
    """`shared` is a server with strangers on it, who see neither its folders nor others' runs."""
    datasets = DataHandlers(UploadHandlers(jobs), shared=shared)
    trainings = TrainHandlers(jobs, datasets)
    runs = LoadedRuns(jobs, shared=shared)
    with SafeBlocks(
        title="Teach VGG16 something new",
        analytics_enabled=False,
        delete_cache=(SECONDS_BETWEEN_DELETIONS, SECONDS_A_FILE_STAYS),
    ) as page:
        gr.Markdown(INTRODUCTION)
        visitor = gr.BrowserState(
            "", storage_key="transfer-visitor", secret=os.environ.get("TRANSFER_SECRET", "local")
        )
        opened = page.load(None, visitor, visitor, js=NEW_VISITOR, **PRIVATE)
        with gr.Tabs() as tabs:
            with gr.Tab("Data", id="data"):
                source, shows = data_tab(datasets, visitor, opened, tabs)
            with gr.Tab("Train", id="train"):
                watched = train_tab(trainings, visitor, opened, source)
            with gr.Tab("Try it", id="try") as tries:
                report = watched[2]  # changes when a run is finished
                run = try_tab(PredictHandlers(runs), visitor, opened, report, tries)
            with gr.Tab("Publish", id="publish") as publishes:
                publish_tab(PublishHandlers(jobs, shared=shared), visitor, publishes)
        query, first = gr.JSON(visible=False), gr.Textbox(visible=False)
        followed = opened.then(follow_link, query, [source, run, first], js=QUERY, **QUIET)
        followed.then(**shows)
        chosen = followed.then(trainings.first_tab, [visitor, first], first, **QUIET)
        open_tab(chosen.then, first, tabs)
        chosen.then(None, None, tabs, js=BACK_TO_PUBLISH, **PRIVATE)
        opened.then(trainings.watch, visitor, watched, concurrency_limit=None, **QUIET)
        if limits := jobs.limits.described():
            gr.Markdown("**On this server.** " + " ".join(limits), elem_classes="limits")
        Api(trainings, runs).add_endpoints()
    return page.queue(max_size=MOST_QUEUED_EVENTS, api_open=False, default_concurrency_limit=8)
