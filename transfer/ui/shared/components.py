"""Handlers that follow each other, and what they say."""

from collections.abc import Callable

import gradio as gr

from transfer.ui.shared.session import PRIVATE

# whoever was still busy when it changed again looks once more at the end
LATEST = {"trigger_mode": "always_last"}


def on_change(component: gr.components.Component) -> gr.events.Dependency:
    """A change of `component`, for any number of handlers to follow by `then`.

    For gradio calls all handlers of an event again when one of them was still busy as it came, and
    two of them that meet each other busy go on so for ever. What follows by `then` goes by itself.
    """
    return component.change(None, js="() => {}", **PRIVATE)


def no_updates(components: int) -> tuple:
    """What a generator yields that changes nothing in so many components.

    For one that yields nothing, gradio sends words of its own, which break them.
    """
    return (gr.skip(),) * components


def accordion(label: str) -> gr.Accordion:
    """Its content is made with its tab: gradio makes that of `open=False` when it is first opened,
    and two frames later writes into each field the value that the page was built with."""
    return gr.Accordion(label, open=0)


TURN = """where => ({__type__: "update", ...(where && {selected: where})})"""


def open_tab(event: Callable, where: gr.Textbox, tabs: gr.Tabs) -> None:
    """At `event`, such as a button's `click`, that of `tabs` whose id stands in `where`, if any.

    In the browser: of what the server turns gradio asks all values inside at each later event of
    the page, and a sketchpad answers by sending its pictures to the server.
    """
    event(None, where, tabs, js=TURN, **PRIVATE)
