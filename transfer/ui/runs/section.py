"""The part of the Train tab below a training: the visitor's finished runs."""

import gradio as gr

from transfer.ui.runs.compare import MOST
from transfer.ui.runs.handlers import NO_RUNS, RunHandlers
from transfer.ui.runs.label_handlers import LabelHandlers
from transfer.ui.runs.label_section import label_section
from transfer.ui.shared.components import LATEST, accordion, beside, live_region, note, on_change
from transfer.ui.shared.downloads import download_on_click
from transfer.ui.shared.session import QUIET
from transfer.ui.train.handlers import Training


def runs_section(
    handlers: RunHandlers,
    visitor: gr.BrowserState,
    opened: gr.events.Dependency,
    training: Training,
    watch: dict,
) -> gr.HTML:
    """Build the section; returns the list of the runs. `watch` follows a training that starts
    here."""
    result, shown_run = training.report, training.shown_run
    mistakes = gr.HTML()
    gr.Markdown("## Your runs")
    runs = gr.HTML(NO_RUNS)
    with gr.Column(visible=False, elem_id="runs") as controls:
        run = gr.Dropdown([], value=None, label="Run", info="What the buttons below act on.")
        with gr.Row():
            show = gr.Button("Show report", min_width=140)
            download = gr.Button("Download as zip", min_width=140)
            delete = gr.Button("Delete", min_width=100)
        refused = note()
        question, asked_about = gr.HTML(live_region(""), padding=False), gr.State("")
        with gr.Row():
            confirm = gr.Button("Yes, delete it", variant="stop", visible=False)
            keep = gr.Button("Keep it", visible=False)
        with gr.Row():
            name = gr.Textbox(label="New name", max_lines=1, scale=3, min_width=200)
            rename = gr.Button("Rename", scale=1, min_width=100, elem_classes="low")
        renamed = note()
        with accordion("Compare runs"):
            several = gr.Dropdown(
                [],
                label="Runs to compare",
                info="Two or more. Differences are relative to the first one.",
                multiselect=True,
                max_choices=MOST,
            )
            compare, uncompared = gr.Button("Compare"), note()
            comparison = gr.HTML()
        labels = LabelHandlers(handlers.jobs)
        label_section(labels, visitor, run, [result, shown_run], watch)
    listed, asked = [runs, run, several, controls], [asked_about, question, confirm, keep]
    beside(refused, show.click, handlers.show, [visitor, run], [result, shown_run])
    run_shown = on_change(shown_run)
    run_shown.then(handlers.mistakes, [visitor, shown_run], mistakes, **LATEST, **QUIET)
    naming = [visitor, run, name, several]
    for event in (name.submit, rename.click):
        beside(renamed, event, handlers.rename, naming, [*listed, name])
    beside(refused, delete.click, handlers.ask, [visitor, run], asked)
    keep.click(handlers.keep, None, asked, **QUIET)
    deleting = [visitor, asked_about, several]
    beside(refused, confirm.click, handlers.delete, deleting, [*listed, *asked])
    download_on_click(download, handlers.download, [visitor, run], "fetched-run")
    beside(uncompared, compare.click, handlers.compare, [visitor, several], [comparison])
    for event in (opened, run_shown):
        event.then(handlers.listed, [visitor, shown_run, several], listed, **LATEST, **QUIET)
    return runs
