"""The settings form of the Train tab: its fields, and the TrainingSettings that they stand for."""

from typing import Any

import gradio as gr

from transfer.errors import SettingsError
from transfer.settings import BLOCKS, PRECISIONS, TrainingSettings
from transfer.training.defaults import EFFORTS
from transfer.ui.shared.components import accordion

WEIGHTS = ("auto", "hub", "bundled", "random")
CLASS_WEIGHTS = {"auto": None, "yes": True, "no": False}
# name, as `TrainingSettings.from_options` takes it → label, choices, explanation
DROPDOWNS = {
    "weights": (
        "Body",
        WEIGHTS,
        "auto: ImageNet weights from the Hub if it can be reached, else the small bundled body. "
        "random shows how much the transfer helps.",
    ),
    "class_weights": (
        "Class weights",
        tuple(CLASS_WEIGHTS),
        "Small classes count as much as large ones. auto: only if they are uneven.",
    ),
    "precision": ("Precision", PRECISIONS, "auto: the fastest that is accurate on this machine."),
}
# name → label, placeholder, explanation. An empty number field would be 0 for the browser, so
# numbers are texts; an empty one means the default for the dataset.
DEFAULT = "chosen from the data"
NUMBERS = {
    "image_size": ("Image size", DEFAULT, "32 to 512 pixels. Larger shows more but takes longer."),
    "views": ("Views", DEFAULT, "Crops and mirrored copies cached of each photo."),
    "head_epochs": ("Warm-up epochs", DEFAULT, "A new head needs many, and they are cheap."),
    "head_lr": ("Warm-up learning rate", DEFAULT, "The peak. High is safe: the body is frozen."),
    "finetune_epochs": ("Fine-tune epochs", DEFAULT, "Few: the filters should not move far."),
    "finetune_lr": ("Fine-tune learning rate", DEFAULT, "Far below warm-up's: keeps good filters."),
    "target_accuracy": ("Target accuracy", "none", "0 to 1. A phase ends once it is reached."),
    "limit_per_class": (
        "Images per class",
        "all",
        "The most to use. A few are enough for a quick try.",
    ),
    "seed": ("Seed", "0", "The same seed gives the same splits and the same result."),
}
TEXTS = {
    "head": (
        "Head",
        "auto",
        "auto tries several. Or pooling and hidden widths, like avg-256: fewer parameters are "
        "easier to tune.",
    ),
    "optimizer": (
        "Optimizer",
        "adamw",
        "Any optimizer of timm. A new head is hard to train with sgd.",
    ),
}
ROWS = (
    ("weights", "image_size", "head", "views"),
    ("head_epochs", "head_lr", "finetune_epochs", "finetune_lr"),
    ("optimizer", "target_accuracy", "class_weights"),
    ("limit_per_class", "precision", "seed"),
)
# the fields that feature extraction uses
FOR_FEATURES = {"method", "effort", "weights", "image_size", "class_weights", *ROWS[-1]}
LONGEST_NUMBER = 20


def build_form() -> dict[str, gr.components.Component]:
    """Field by its name in `TrainingSettings.from_options`."""
    with gr.Row():
        method = gr.Radio(
            [("Fine-tune in two phases", "finetune"), ("Feature extraction only", "features")],
            value="finetune",
            label="Method",
            info="Fine-tune: a new head warms up on the frozen body, then upper blocks learn too. "
            "Feature extraction: the body stays frozen, and a linear classifier is fitted.",
            min_width=300,
        )
        effort = gr.Radio(
            [(name.capitalize(), name) for name in EFFORTS],
            value="balanced",
            label="Effort",
            info="How long to train, and how many blocks. Your own settings override this.",
            min_width=300,
        )
    unfreeze = gr.Dropdown(
        [("none: stop after warm-up", "none"), ("block5: the last block (usual)", "block5")]
        + [(f"{block} and up", block) for block in reversed(BLOCKS[1:-1])]
        + [("block1 and up: all (slow)", "block1")],
        value="block5",
        label="Unfreeze in phase 2",
        info="More blocks need more images and more time.",
    )
    form = {"method": method, "effort": effort, "unfreeze": unfreeze}
    with accordion("Advanced settings"):
        for row in ROWS:
            with gr.Row():
                form |= {name: _field(name) for name in row}
    return form


def _field(name: str) -> gr.components.Component:
    if name in DROPDOWNS:
        label, choices, info = DROPDOWNS[name]
        return gr.Dropdown(list(choices), value="auto", label=label, info=info)
    label, placeholder, info = (NUMBERS | TEXTS)[name]
    return gr.Textbox("", label=label, info=info, placeholder=placeholder, max_lines=1)


def read_form(form: dict[str, Any]) -> TrainingSettings:
    """The settings from the fields' values by name. Raises SettingsError: anyone can post anything.

    Which weights a visitor may use is checked in `TrainHandlers.begin`, for the API as well.
    """
    filled = {name: value for name, value in form.items() if value is not None}
    options = {name: value for name, value in filled.items() if str(value).strip()}
    options |= {name: _number(name, options[name]) for name in NUMBERS if name in options}
    if "class_weights" in options:
        chosen = str(options.pop("class_weights"))
        if chosen not in CLASS_WEIGHTS:
            raise SettingsError(f"class weights must be auto, yes or no, found {chosen[:20]!r}")
        options["class_weights"] = CLASS_WEIGHTS[chosen]
    if options.get("method") == "features":
        options = {name: value for name, value in options.items() if name in FOR_FEATURES}
        options["unfreeze"] = "none"
    return TrainingSettings.from_options(**options)


def _number(name: str, value: Any) -> int | float:
    shown = str(value)[:LONGEST_NUMBER]
    try:
        number = float(shown)
    except ValueError:
        label = name.replace("_", " ")
        raise SettingsError(
            f"{label} must be a number, found {shown!r}; leave it empty for the default"
        ) from None
    return int(number) if number.is_integer() else number
