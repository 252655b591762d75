"""A button that makes a zip and fetches it: gradio's own fetches what it holds already."""

from collections.abc import Callable

import gradio as gr

from transfer.ui.visitor import PRIVATE

QUIET = PRIVATE | {"show_progress": "hidden"}
PRESS = """() => setTimeout(() => {{
    const at = document.getElementById("{name}");
    (at.querySelector("a, button") || at).click();
}}, 200)"""


def fetches(button: gr.Button, make: Callable, inputs: list, name: str, **limits) -> None:
    """`make` gives the file's path; `name` tells this file from others on the page; `limits` are
    those of an event."""
    made, label = gr.DownloadButton(elem_id=name, elem_classes="fetched"), button.value
    busy = button.click(
        lambda: gr.Button("Making the zip …", interactive=False), None, button, **QUIET
    )
    making = busy.then(make, inputs, made, **PRIVATE, **limits)
    making.success(js=PRESS.format(name=name), **QUIET)
    for ended in (making.success, making.failure):  # gradio's `then` follows no failure
        ended(lambda: gr.Button(label, interactive=True), None, button, **QUIET)
