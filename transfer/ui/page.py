"""The page: layout only. What happens stands in `actions.py`."""

import os
from pathlib import Path

import gradio as gr
from PIL import Image

from transfer.jobs import Jobs
from transfer.settings import UNFREEZE
from transfer.ui.actions import Actions
from transfer.ui.data_tab import PRIVATE, data_tab

UNFREEZE_NAMES = {
    "block5": "block5: only the last block (quick, the usual choice)",
    "block4": "block4 and up",
    "block3": "block3 and up",
    "block2": "block2 and up",
    "block1": "block1 and up: the whole body (slow)",
    "none": "none: stop after warm-up",
}
NEW_VISITOR = """known => known || Array.from(
    crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, "0")
).join("")"""
CSS = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def theme() -> gr.themes.Base:
    """Fonts that come with the machine, and text that is dark enough to read."""
    return gr.themes.Soft(
        primary_hue="blue",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    ).set(
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
        block_title_background_fill="none",
        block_label_background_fill="*neutral_100",
        block_label_background_fill_dark="*neutral_800",
        block_title_padding="0",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )


def build_page(jobs: Jobs, *, shared: bool) -> gr.Blocks:
    """`shared` is a server with strangers on it: no folders of its own disk, no others' runs."""
    actions = Actions(jobs, shared=shared)
    with gr.Blocks(title="Teach VGG16 something new", analytics_enabled=False) as page:
        gr.Markdown(
            "# Teach VGG16 something new\nPick labelled images, watch the network learn them in "
            "two phases, then try it on a picture of your own."
        )
        visitor = gr.BrowserState(
            "", storage_key="transfer-visitor", secret=os.environ.get("TRANSFER_SECRET", "local")
        )
        with gr.Tabs() as tabs:
            with gr.Tab("Data", id="data"):
                source, own = data_tab(actions, visitor, tabs)
            with gr.Tab("Train", id="train"):
                watched = _train_tab(actions, visitor, source)
            with gr.Tab("Try it", id="try"):
                _try_tab(actions, visitor, watched)
        # made in the browser: a visitor who is quicker than the server has a name already
        opened = page.load(None, visitor, visitor, js=NEW_VISITOR, **PRIVATE)
        opened.then(actions.own.show, visitor, own, show_progress="hidden", **PRIVATE)
        opened.then(
            actions.watch,
            visitor,
            watched,
            concurrency_limit=None,
            show_progress="hidden",
            **PRIVATE,
        )
        gr.api(actions.classify_file, api_name="classify", concurrency_limit=4)
    return page.queue(max_size=64, api_open=False, default_concurrency_limit=8)


def _train_tab(actions: Actions, visitor: gr.BrowserState, source: gr.Dropdown) -> list:
    method = gr.Radio(
        [("Fine-tune in two phases", "finetune"), ("Feature extraction only", "features")],
        value="finetune",
        label="Method",
        info="Fine-tune: a new head warms up over the frozen body, then upper blocks learn too. "
        "Feature extraction: the body stays as it is under a linear classifier; the quickest.",
    )
    unfreeze = gr.Dropdown(
        [(UNFREEZE_NAMES[name], name) for name in reversed(UNFREEZE[:5])]
        + [(UNFREEZE_NAMES["none"], "none")],
        value="block5",
        label="Unfreeze in phase 2",
        info="The more blocks learn, the more images and time they need.",
    )
    with gr.Accordion("Advanced settings", open=False):
        advanced = _advanced()
    with gr.Row():
        start = gr.Button("Start training", variant="primary")
        stop = gr.Button("Stop and keep what it learned", interactive=False)
    status, charts, result = gr.HTML(), gr.HTML(), gr.HTML()
    watched = [status, charts, result, start, stop]
    inputs = [visitor, source, method, unfreeze, *advanced]
    start.click(actions.start, inputs, watched, **PRIVATE).success(
        actions.watch, visitor, watched, concurrency_limit=None, show_progress="hidden", **PRIVATE
    )
    stop.click(actions.stop, visitor, [status, stop], **PRIVATE)
    return watched


def _advanced() -> list:
    """In the order of `actions.ADVANCED`. Empty means: chosen from the data."""
    auto = "Empty: chosen from the data."
    weights = gr.Dropdown(
        ["auto", "hub", "bundled", "random"],
        value="auto",
        label="Body",
        info="auto: ImageNet's from the Hub if it answers, else the small one that comes along.",
    )
    with gr.Row():
        numbers = [
            gr.Number(None, label="Image size", info=f"Pixels a side, 32 to 512. {auto}"),
            gr.Number(None, label="Warm-up epochs", info=f"At most. {auto}"),
            gr.Number(None, label="Fine-tune epochs", info=f"At most. {auto}"),
        ]
    with gr.Row():
        numbers += [
            gr.Number(None, label="Warm-up learning rate", info=auto),
            gr.Number(None, label="Fine-tune learning rate", info="Much smaller than warm-up's."),
            gr.Number(None, label="Target accuracy", info="0 to 1; stops once it is reached."),
        ]
    with gr.Row():
        optimizer = gr.Textbox("", label="Optimizer", info="Any of timm's: adamw, sgd, rmsprop …")
        limit = gr.Number(None, label="Images a class", info="At most. Empty: all of them.")
        seed = gr.Number(0, label="Seed", info="Same seed, same result.", precision=0)
    head = gr.Textbox(
        "auto",
        label="Head",
        info="auto tries several on the cached features. Or pooling and widths of hidden layers: "
        "avg, avg-256, flatten-256-128 …",
    )
    return [weights, *numbers, optimizer, limit, seed, head]


def _try_tab(actions: Actions, visitor: gr.BrowserState, watched: list) -> None:
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
    photo.change(actions.classify_photo, [visitor, run, photo], answer, **PRIVATE)
    run.change(actions.classify_photo, [visitor, run, photo], answer, **PRIVATE)
    ask.click(actions.classify_drawing, [visitor, run, drawing], answer, **PRIVATE)
    refresh = {"fn": actions.runs, "inputs": visitor, "outputs": run} | PRIVATE
    visitor.change(**refresh)
    watched[2].change(**refresh)
