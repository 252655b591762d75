"""The part of the finished runs about their photos: wrong labels are found, decided about and
corrected, and a learning curve tells whether more photos would help."""

from pathlib import Path

import gradio as gr

from transfer.ui.runs.label_handlers import LabelHandlers
from transfer.ui.shared.components import LATEST, accordion
from transfer.ui.shared.downloads import download_on_click
from transfer.ui.shared.session import PRIVATE, QUIET

INTRODUCTION = (
    "Each label is compared with what the other photos say. Nothing is changed until you decide, "
    "and the dataset itself never is."
)
CURVE_INTRODUCTION = (
    "The accuracy on parts of the photos, from an eighth to all of them, shows what twice as many "
    "would give."
)
SCRIPT = Path(__file__).with_name("labels.js").read_text(encoding="utf-8")
# in place of the last argument of a handler
DECISIONS = "(visitor, checked) => [visitor, checked, suspects.decisions()]"
TO_STATUS = """() => document.querySelector(".status").scrollIntoView({block: "center"})"""
# one at a time, since each uses all cores
REVIEWS = {"concurrency_limit": 1, "concurrency_id": "review"} | QUIET


def label_section(
    handlers: LabelHandlers,
    visitor: gr.BrowserState,
    run: gr.State,
    run_shown: gr.events.Dependency,
    watch: dict,
) -> None:
    """For the `run` whose report is shown, which `run_shown` says; a training that starts here
    hides the report and is shown by the event `watch`."""
    checked, decisions = gr.State(None), gr.JSON(visible=False)
    with gr.Column(visible=False) as offered:
        with accordion("Check labels"):
            gr.Markdown(INTRODUCTION)
            with gr.Row():
                check = gr.Button("List suspicious labels", min_width=200)
                stop = gr.Button("Stop", visible=False, min_width=100)
            summary = gr.HTML()
            with gr.Column(visible=False) as deciding:
                with gr.Row():
                    relabel = gr.Button("Relabel the first", min_width=200)
                    keep = gr.Button("Keep all", min_width=100)
                cards = gr.HTML(elem_id="labels", js_on_load=SCRIPT, padding=False)
                with gr.Row():
                    train = gr.Button(
                        "Train again with these labels", variant="primary", min_width=240
                    )
                    save = gr.Button("Download the decisions", min_width=200)
            tested = gr.HTML()
        with accordion("Would more photos help?"):
            gr.Markdown(CURVE_INTRODUCTION)
            with gr.Row():
                ask = gr.Button("Estimate it", min_width=200)
                stop_curve = gr.Button("Stop", visible=False, min_width=100)
            curve = gr.HTML()
    results = [summary, checked, deciding, cards, relabel, tested]
    of_a_run = [offered, curve, *results]
    run_shown.then(handlers.offered, [visitor, run], of_a_run, **LATEST, **QUIET)
    decided = [visitor, checked, decisions]
    # what an earlier review found makes room before this one's turn comes
    check.click(lambda: (gr.Column(visible=False), ""), None, [deciding, tested], **QUIET)
    for button, stops, compute, shown in (
        (check, stop, handlers.review, results),
        (ask, stop_curve, handlers.learning_curve, [curve]),
    ):
        begun = button.click(handlers.begin, visitor, [shown[0], button, stops], **QUIET)
        computed = begun.then(compute, [visitor, run], shown, **REVIEWS)
        for ended in (computed.success, computed.failure):  # `then` does not follow a failure
            ended(_can_begin, None, [button, stops], **QUIET)
        stops.click(handlers.stop, visitor, stops, **QUIET)
    relabel.click(None, js="() => suspects.chooseFirst()", **PRIVATE)
    keep.click(None, js="() => suspects.keepAll()", **PRIVATE)
    started = train.click(handlers.train, decided, run, js=DECISIONS, **QUIET)
    started.success(None, js=TO_STATUS, **PRIVATE)
    started.success(**watch)
    download_on_click(save, handlers.download, decided, "fetched-labels", js=DECISIONS)


def _can_begin() -> tuple:
    """(the button that begins a computation, the one that stops it)."""
    return gr.Button(interactive=True), gr.Button(visible=False)
