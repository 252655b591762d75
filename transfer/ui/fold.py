"""A fold, closed at first, whose fields keep what is typed as soon as it is opened."""

import gradio as gr


def fold(label: str) -> gr.Accordion:
    """Its content is made with its tab: gradio makes that of `open=False` when it is first opened,
    and two frames later writes into each field the value that the page was built with."""
    return gr.Accordion(label, open=0)
