"""The Try it tab: a photo or a drawing, and what a run takes it for."""

import gradio as gr
from PIL import Image

from transfer.ui.trying import Trying
from transfer.ui.visitor import PRIVATE


def try_tab(trying: Trying, visitor: gr.BrowserState, result: gr.HTML) -> None:
    """`result` changes when a training has ended, so that its run can be chosen."""
    run = gr.Dropdown([], label="Run", info="A finished training.", value=None)
    with gr.Row():
        with gr.Column(), gr.Tabs():
            with gr.Tab("Photo"):
                photo = gr.Image(
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "clipboard", "webcam"],
                    label="Your picture",
                    height=300,
                )
            with gr.Tab("Draw a digit"):
                white = Image.new("RGB", (280, 280), "white")
                drawing = gr.Sketchpad(
                    # a background, for without one the brush waits to be chosen
                    value={"background": white, "layers": [], "composite": white},
                    type="pil",
                    label="Draw one large digit",
                    height=340,
                    canvas_size=(280, 280),
                    brush=gr.Brush(default_size=22, colors=["#000000"], color_mode="fixed"),
                    layers=False,
                )
                ask = gr.Button("What is it?", variant="primary")
        with gr.Column():
            answer = gr.Label(num_top_classes=5, label="Best guesses")
    photo.change(trying.photo, [visitor, run, photo], answer, **PRIVATE)
    run.change(trying.photo, [visitor, run, photo], answer, **PRIVATE)
    ask.click(trying.drawing, [visitor, run, drawing], answer, **PRIVATE)
    refresh = {"fn": trying.choices, "inputs": visitor, "outputs": run} | PRIVATE
    visitor.change(**refresh)
    result.change(**refresh)
