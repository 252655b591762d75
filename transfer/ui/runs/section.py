"""The part of the page below a training: the visitor's finished runs."""

from collections.abc import Callable
from typing import NamedTuple

import gradio as gr

from transfer.ui.runs.handlers import RunHandlers
from transfer.ui.runs.label_handlers import LabelHandlers
from transfer.ui.runs.label_section import label_section
from transfer.ui.runs.rows import SCRIPT, run_rows
from transfer.ui.shared.components import GO_TO, LATEST, beside, note, on_change
from transfer.ui.shared.downloads import CLICK
from transfer.ui.shared.session import PRIVATE, QUIET

# in the browser, after an event whose refusal is explained beside the rows
UNLESS_REFUSED = """refusal => refusal.includes("warning") ? {{__type__: "update"}} : ({})()"""
TO_HEADING = """() => setTimeout(() => document.querySelector("{} h2")?.focus(), 200)"""
TO_PART = """() => {{
    const at = document.querySelector("{focus}");
    if (at.tabIndex < 0) at.tabIndex = -1;
    setTimeout(() => at.focus({{preventScroll: true}}), 400);
    return ({go})("{part}");
}}"""


class RunsSection(NamedTuple):
    """The rows, and where it is explained why an action was refused."""

    rows: gr.HTML
    refused: gr.HTML
    handlers: RunHandlers
    visitor: gr.BrowserState

    def leads(self, event: Callable, run: gr.Dropdown, tabs: gr.Tabs, **place: str) -> None:
        """At an event of the rows select that run in another part of the page, and go there."""
        chosen = beside(self.refused, event, self.handlers.choose, [self.visitor], [run])
        self.go(chosen, tabs, **place)

    def go(self, done: gr.events.Dependency, tabs: gr.Tabs, **place: str) -> None:
        """After an event of the rows that was not refused, go to another part of the page."""
        js = UNLESS_REFUSED.format(TO_PART.format(go=GO_TO, **place))
        done.then(None, self.refused, tabs, js=js, **PRIVATE)


def runs_section(
    handlers: RunHandlers,
    visitor: gr.BrowserState,
    opened: gr.events.Dependency,
    shown_run: gr.State,
    report: gr.HTML,
    watch: dict,
) -> RunsSection:
    """Build the section, with the `report` of the run that `shown_run` names. `watch` follows a
    training that starts here."""
    compared, run_shown = gr.State([]), on_change(shown_run)
    rows = gr.HTML(run_rows([]), js_on_load=SCRIPT, elem_id="rows", padding=False)
    refused = note()
    fetched = gr.DownloadButton(elem_id="fetched-run", elem_classes="fetched")
    comparison = gr.HTML(elem_id="comparison")
    report.render()
    mistakes = gr.HTML()
    label_section(LabelHandlers(handlers.jobs), visitor, shown_run, run_shown, watch)
    shown = [rows, report, shown_run, comparison, compared]
    update = {"fn": handlers.update, "inputs": [visitor, shown_run, compared], "outputs": shown}
    for event, handler, outputs, js in (
        (rows.select, handlers.show, [report, shown_run], TO_HEADING.format("#report")),
        (rows.submit, handlers.compare, [comparison, compared], TO_HEADING.format("#comparison")),
        (rows.download, handlers.download, [fetched], CLICK.format(name="fetched-run")),
    ):
        done = beside(refused, event, handler, [visitor], outputs)
        done.then(None, refused, js=UNLESS_REFUSED.format(js), **PRIVATE)
    changes = [
        beside(refused, event, handler, [visitor], [])
        for event, handler in (
            (rows.edit, handlers.rename),
            (rows.delete, handlers.delete),
            (rows.undo, handlers.undo),
        )
    ]
    for event in (opened.then, rows.tick, run_shown.then, *(each.then for each in changes)):
        event(**update, **LATEST, **QUIET)
    run_shown.then(handlers.mistakes, [visitor, shown_run], mistakes, **LATEST, **QUIET)
    return RunsSection(rows, refused, handlers, visitor)
