"""Beneath a training: a visitor's finished runs, and what to do with them."""

import gradio as gr

from transfer.ui.runs.compare import MOST
from transfer.ui.runs.handlers import NO_RUNS, QUESTION, RunHandlers
from transfer.ui.shared.components import LATEST, accordion, on_change
from transfer.ui.shared.downloads import download_on_click
from transfer.ui.shared.session import PRIVATE, QUIET


def runs_section(
    kept: RunHandlers,
    visitor: gr.BrowserState,
    opened: gr.events.Dependency,
    result: gr.HTML,
    shown_run: gr.State,
) -> None:
    """`result` shows the report of the run named by `shown_run`; both change when one ends."""
    pictures = gr.HTML()
    gr.Markdown("## Your runs")
    page = gr.HTML(NO_RUNS)
    with gr.Column(visible=False) as controls:
        chosen = gr.Dropdown([], label="Run", info="What the buttons below are about.", value=None)
        with gr.Row():
            show = gr.Button("Show its report", min_width=140)
            download = gr.Button("Download as zip", min_width=140)
            delete = gr.Button("Delete", min_width=100)
        question, asked_about = gr.HTML(QUESTION.format(""), padding=False), gr.State("")
        with gr.Row():
            really = gr.Button("Yes, delete it", variant="stop", visible=False)
            keep = gr.Button("Keep it", visible=False)
        with gr.Row():
            name = gr.Textbox(label="New name", max_lines=1, scale=3, min_width=200)
            rename = gr.Button("Rename", scale=1, min_width=100, elem_classes="low")
        with accordion("Compare runs"):
            several = gr.Dropdown(
                [],
                label="Runs to compare",
                info="Two or more; the others are measured against the first.",
                multiselect=True,
                max_choices=MOST,
            )
            compare = gr.Button("Compare")
            compared = gr.HTML()
    listed, asked = [page, chosen, several, controls], [asked_about, question, really, keep]
    show.click(kept.show, [visitor, chosen], [result, shown_run], **PRIVATE)
    run_changed = on_change(shown_run)
    run_changed.then(kept.mistakes, [visitor, shown_run], pictures, **LATEST, **QUIET)
    for event in (name.submit, rename.click):
        event(kept.rename, [visitor, chosen, name, several], [*listed, name], **PRIVATE)
    delete.click(kept.ask, [visitor, chosen], asked, **PRIVATE)
    keep.click(kept.keep, None, asked, **PRIVATE)
    really.click(kept.delete, [visitor, asked_about, several], [*listed, *asked], **PRIVATE)
    download_on_click(download, kept.download, [visitor, chosen], "fetched-run")
    compare.click(kept.compare, [visitor, several], compared, **PRIVATE)
    for event in (opened, run_changed):
        event.then(kept.listed, [visitor, shown_run, several], listed, **LATEST, **QUIET)
