"""The settings form of the Train tab: its fields, and the TrainingSettings that they stand for."""

from typing import Any

import gradio as gr

from transfer.errors import SettingsError
from transfer.settings import EFFORTS, PRECISIONS, WEIGHTS, TrainingSettings

CLASS_WEIGHTS = {"auto": None, "yes": True, "no": False}
DEFAULT = "chosen from the data"
# rows of fields: name, as `TrainingSettings.from_options` takes it → label, choices or the
# placeholder of a text field, explanation. Numbers are texts, because the browser takes an empty
# number field for 0; an empty text means the default for the dataset.
ADVANCED = (
    {
        "weights": (
            "Body",
            WEIGHTS,
            "auto takes timm's from the Hub, or the bundled VGG16 if the Hub does not answer. Both "
            "know ImageNet; random knows nothing.",
        ),
        "image_size": ("Image size", DEFAULT, "32 to 512 pixels. Large ones show more."),
        "head": (
            "Head",
            "auto",
            "auto tries several. Or name one, like avg-256: small heads are easier to train.",
        ),
        "views": ("Views", DEFAULT, "Cropped and mirrored copies of each photo."),
    },
    {
        "head_epochs": ("Warm-up epochs", DEFAULT, "A new head needs many; they are quick."),
        "head_lr": (
            "Warm-up learning rate",
            DEFAULT,
            "The highest. It may be high: the body is frozen.",
        ),
        "finetune_epochs": ("Fine-tune epochs", DEFAULT, "A few, so that filters stay close."),
        "finetune_lr": ("Fine-tune learning rate", DEFAULT, "Much lower, to keep good filters."),
    },
    {
        "optimizer": ("Optimizer", "adamw", "Any of timm's. A new head is hard to train with sgd."),
        "target_accuracy": ("Target accuracy", "none", "0 to 1. A phase stops when it is reached."),
        "class_weights": (
            "Class weights",
            tuple(CLASS_WEIGHTS),
            "Small classes count as much as large ones. auto does this if sizes differ a lot.",
        ),
    },
    {
        "limit_per_class": ("Images per class", "all", "At most; a few for a quick test."),
        "precision": ("Precision", PRECISIONS, "auto picks the fastest that is accurate here."),
        "seed": ("Seed", "0", "The same seed gives the same splits and the same result."),
    },
)
TEXTS = [name for row in ADVANCED for name, (_, kind, _) in row.items() if isinstance(kind, str)]
NUMBERS = [name for name in TEXTS if name not in ("head", "optimizer")]
# those that `placeholders` fills
FILLED = [name for name in TEXTS if name not in ("target_accuracy", "limit_per_class", "seed")]
FEATURES, AUTO = "features", "auto"
EFFORT_TITLES = {name: name.capitalize() for name in EFFORTS} | {FEATURES: "Features only"}
UNFREEZE = {
    "none": "none: stop after warm-up",
    "block5": "block5: the last block",
    "block4": "block4 and up",
    "block3": "block3 and up",
    "block2": "block2 and up",
    "block1": "block1 and up: all (slow)",
}
# the fields that feature extraction uses
FOR_FEATURES = {"method", "weights", "image_size", "class_weights", *ADVANCED[-1]}


def effort_field() -> gr.Radio:
    return gr.Radio(
        [(title, name) for name, title in EFFORT_TITLES.items()],
        value="balanced",
        label="Effort",
        elem_classes="efforts",
    )


def advanced_fields() -> dict[str, gr.components.Component]:
    """Field by its name in `TrainingSettings.from_options`."""
    unfreeze = gr.Dropdown(
        unfreeze_choices(None),
        value=AUTO,
        label="Unfreeze in phase 2",
        info="More blocks need more images and more time.",
    )
    form: dict[str, gr.components.Component] = {"unfreeze": unfreeze}
    for row in ADVANCED:
        with gr.Row():
            form |= {name: _field(*what) for name, what in row.items()}
    return form


def unfreeze_choices(chosen: str | None) -> list[tuple[str, str]]:
    """`chosen` is the block that the effort unfreezes, if it is known."""
    automatic = f"auto: {UNFREEZE[chosen]}" if chosen else "auto"
    return [(automatic, AUTO), *((title, name) for name, title in UNFREEZE.items())]


def placeholders(filled: TrainingSettings) -> dict[str, str]:
    """What an empty text field stands for, by its name."""
    return {
        "image_size": str(filled.image_size),
        "head": "auto" if filled.try_heads else filled.head.name,
        "views": str(filled.views),
        "head_epochs": str(filled.warm_up.epochs),
        "head_lr": f"{filled.warm_up.learning_rate:g}",
        "finetune_epochs": str(filled.fine_tune.epochs),
        "finetune_lr": f"{filled.fine_tune.learning_rate:g}",
        "optimizer": str(filled.warm_up.optimizer),
    }


def _field(label: str, kind: tuple[str, ...] | str, info: str) -> gr.components.Component:
    if isinstance(kind, tuple):
        return gr.Dropdown(list(kind), value="auto", label=label, info=info)
    return gr.Textbox("", label=label, info=info, placeholder=kind, max_lines=1)


def read_form(form: dict[str, Any]) -> TrainingSettings:
    """The settings from the fields' values by name. Raises SettingsError: anyone can post anything.

    Which weights a visitor may use is checked in `TrainHandlers.begin`, for the API as well.
    """
    options = {name: value for name, value in form.items() if str(value or "").strip()}
    options |= {name: _number(name, options[name]) for name in NUMBERS if name in options}
    if "class_weights" in options:
        chosen = str(options["class_weights"])
        options["class_weights"] = CLASS_WEIGHTS.get(chosen, chosen)
    if options.get("unfreeze") == AUTO:
        del options["unfreeze"]
    if options.get("effort") == FEATURES:
        options["method"] = FEATURES
        options = {name: value for name, value in options.items() if name in FOR_FEATURES}
        options["unfreeze"] = "none"
    return TrainingSettings.from_options(**options)


def _number(name: str, value: Any) -> int | float:
    shown = str(value)[:20]
    try:
        number = float(shown)
    except ValueError:
        why = f"must be a number, found {shown!r}; leave it empty for the default"
        raise SettingsError(f"{name.replace('_', ' ')} {why}") from None
    return int(number) if number.is_integer() else number
