"""The Train tab: the method, its settings, and the training as it goes."""

import gradio as gr

from transfer.settings import UNFREEZE
from transfer.ui.trainings import Trainings
from transfer.ui.visitor import PRIVATE

UNFREEZE_NAMES = {
    "block5": "block5: only the last block (quick, the usual choice)",
    "block4": "block4 and up",
    "block3": "block3 and up",
    "block2": "block2 and up",
    "block1": "block1 and up: the whole body (slow)",
    "none": "none: stop after warm-up",
}


def train_tab(trainings: Trainings, visitor: gr.BrowserState, source: gr.Dropdown) -> list:
    """What `Trainings.watch` shows: status, charts, result, start, stop."""
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
    start.click(trainings.start, inputs, watched, **PRIVATE).success(
        trainings.watch, visitor, watched, concurrency_limit=None, show_progress="hidden", **PRIVATE
    )
    stop.click(trainings.stop, visitor, [status, stop], **PRIVATE)
    return watched


def _advanced() -> list:
    """In the order of `trainings.ADVANCED`. Empty means: chosen from the data."""
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
