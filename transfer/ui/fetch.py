"""A button that makes a file and fetches it: gradio's own fetches what it holds already."""

from collections.abc import Callable

import gradio as gr

from transfer.ui.visitor import PRIVATE

PRESS = """() => setTimeout(() => {{
    const at = document.getElementById("{name}");
    (at.querySelector("a, button") || at).click();
}}, 200)"""


def fetches(button: gr.Button, make: Callable, inputs: list, name: str) -> None:
    """`make` gives the file's path; `name` tells this file from others on the page."""
    made = gr.DownloadButton(elem_id=name, elem_classes="fetched")
    button.click(make, inputs, made, **PRIVATE).success(
        js=PRESS.format(name=name), show_progress="hidden", **PRIVATE
    )
