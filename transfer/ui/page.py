"""The page: its tabs, and what they share."""

import os

import gradio as gr

from transfer.jobs import JobManager
from transfer.ui.api import Api
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.step import IN_TURN, Chosen, data_step
from transfer.ui.data.uploads import UploadHandlers
from transfer.ui.predict.handlers import PredictHandlers
from transfer.ui.predict.step import Trying, try_step
from transfer.ui.publish.handlers import PublishHandlers
from transfer.ui.publish.tab import publish_tab
from transfer.ui.runs.handlers import RunHandlers
from transfer.ui.runs.section import RunsSection, runs_section
from transfer.ui.shared.components import GO_TO, on_change, step
from transfer.ui.shared.downloads import SECONDS_A_FILE_STAYS
from transfer.ui.shared.guard import SafeBlocks
from transfer.ui.shared.links import QUERY, follow_link
from transfer.ui.shared.loaded_runs import LoadedRuns
from transfer.ui.shared.session import NEW_VISITOR, PRIVATE, QUIET
from transfer.ui.shared.sign_in import BACK_TO_PUBLISH
from transfer.ui.train.handlers import TrainHandlers
from transfer.ui.train.step import train_step

SECONDS_BETWEEN_DELETIONS = 600  # of files that visitors uploaded or downloaded
MOST_QUEUED_EVENTS = 500  # opening the page takes about ten
# in the browser: gradio has set the browser's language, in which a screen reader would read
IN_ENGLISH = """() => { document.documentElement.lang = "en"; }"""
INTRODUCTION = (
    "# Teach VGG16 something new\nShow it labelled pictures, let it learn them in two phases, then "
    "try it on pictures of your own."
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
        gr.Markdown(INTRODUCTION, elem_classes="introduction")
        visitor = gr.BrowserState(
            "", storage_key="transfer-visitor", secret=os.environ.get("TRANSFER_SECRET", "local")
        )
        opened = page.load(None, visitor, visitor, js=NEW_VISITOR, **PRIVATE)
        page.load(None, js=IN_ENGLISH, **PRIVATE)
        with gr.Row(elem_classes="three"):
            with step("data", "Teach", "Choose pictures to learn from.", is_first=True):
                chosen = data_step(datasets, visitor, opened)
            with step("train", "Train", "It goes on even if you close the page."):
                training = train_step(trainings, visitor, opened, chosen)
            report = gr.HTML(elem_id="report", render=False)
            with step("try", "Try", "Ask it about a picture."):
                trying = try_step(PredictHandlers(runs), visitor, opened, report)
        with gr.Tabs() as tabs:
            with gr.Tab("Training and runs", id="runs", elem_id="runs"):
                for part in (training.diagram, training.charts):
                    part.render()
                watch = trainings.watching(visitor, training)
                found = (visitor, opened, training.shown_run, report, watch)
                section = runs_section(RunHandlers(jobs), *found)
                listed = on_change(section.rows)
                listed.then(**trying.lists)
                listed.then(**watch | {"fn": trainings.newest})
            with gr.Tab("Publish", id="publish", elem_id="publish") as publishes:
                published = publish_tab(PublishHandlers(jobs, shared=shared), visitor, publishes)
        section.leads(section.rows.play, trying.run, tabs, part="try", focus="#step-try")
        section.leads(section.rows.upload, published, tabs, part="publish", focus="#publish-button")
        _connect_teaching(visitor, chosen, trying, section, tabs)
        query, first = gr.JSON(visible=False), gr.Textbox(visible=False)
        followed = opened.then(
            follow_link, query, [chosen.source, trying.run, first], js=QUERY, **QUIET
        )
        followed.then(**chosen.looks)
        known = followed.then(trainings.first_step, [visitor, first], first, **QUIET)
        known.then(None, first, tabs, js=GO_TO, **PRIVATE)
        known.then(None, None, tabs, js=BACK_TO_PUBLISH, **PRIVATE)
        opened.then(**trainings.watching(visitor, training))
        if limits := jobs.limits.described():
            gr.Markdown("**On this server.** " + " ".join(limits), elem_classes="limits")
        Api(trainings, runs).add_endpoints()
    return page.queue(max_size=MOST_QUEUED_EVENTS, api_open=False, default_concurrency_limit=8)


def _connect_teaching(
    visitor: gr.BrowserState, chosen: Chosen, trying: Trying, section: RunsSection, tabs: gr.Tabs
) -> None:
    """One's own classes are changed on their cards, by a correction, and from a finished run; after
    each change they answer again."""
    corrected = trying.correct.click(
        chosen.teaching.correct,
        [visitor, trying.page, trying.right],
        [chosen.source, chosen.cards, trying.uncorrected],
        **IN_TURN,
    )
    opened = section.rows.apply(
        chosen.teaching.teach_more,
        visitor,
        [chosen.source, chosen.cards, section.refused],
        **IN_TURN,
    )
    section.go(opened, tabs, part="data", focus="#step-data")
    for event in (chosen.taught, corrected, opened):
        event.then(**chosen.looks)
        trying.follow(event)
