"""Handlers that follow each other, and what they say."""

import gradio as gr

from transfer.ui.visitor import PRIVATE

# whoever was still busy when it changed again looks once more at the end
LATEST = {"trigger_mode": "always_last"}


def changed(component: gr.components.Component) -> gr.events.Dependency:
    """A change of `component`, for any number of handlers to follow by `then`.

    For gradio calls all handlers of an event again when one of them was still busy as it came, and
    two of them that meet each other busy go on so for ever. What follows by `then` goes by itself.
    """
    return component.change(None, js="() => {}", **PRIVATE)


def as_it_is(components: int) -> tuple:
    """What a generator yields that changes nothing in so many components.

    For one that yields nothing, gradio sends words of its own, which break them.
    """
    return (gr.skip(),) * components
