"""Another tab comes to the front."""

from collections.abc import Callable

import gradio as gr

from transfer.ui.visitor import PRIVATE

TURN = """where => ({__type__: "update", ...(where && {selected: where})})"""


def turns(event: Callable, where: gr.Textbox, tabs: gr.Tabs) -> None:
    """At `event`, such as a button's `click`, that of `tabs` whose id stands in `where`, if any.

    In the browser: of what the server turns gradio asks all values inside at each later event of
    the page, and a sketchpad answers by sending its pictures to the server.
    """
    event(None, where, tabs, js=TURN, **PRIVATE)
