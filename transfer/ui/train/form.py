"""What the Train tab's fields say, as the options of a training."""

from transfer.errors import SettingsError
from transfer.settings import PRECISIONS

WEIGHTS = ("auto", "hub", "bundled", "random")
# in the order of the fields; empty means chosen from the data
ADVANCED = (
    "weights",
    "image_size",
    "head",
    "views",
    "head_epochs",
    "head_lr",
    "finetune_epochs",
    "finetune_lr",
    "optimizer",
    "target_accuracy",
    "class_weights",
    "limit_per_class",
    "precision",
    "seed",
)
NUMBERS = (
    "image_size",
    "views",
    "head_epochs",
    "head_lr",
    "finetune_epochs",
    "finetune_lr",
    "target_accuracy",
    "limit_per_class",
    "seed",
)
LONGEST_NUMBER = 20
CLASS_WEIGHTS = {"auto": None, "yes": True, "no": False}
OF_PHASES = (
    "head",
    "views",
    "head_epochs",
    "head_lr",
    "finetune_epochs",
    "finetune_lr",
    "optimizer",
    "target_accuracy",
)


def filled(method: str, effort: str, unfreeze: str, advanced: tuple) -> dict:
    """The options of a training, without those that the method has no use for.

    Raises SettingsError, for anybody can post anything. Which weights a visitor may have is for
    `Trainings.begin` to say, through which other programs come too.
    """
    options = {k: v for k, v in zip(ADVANCED, advanced, strict=True) if _is_filled(v)}
    options |= {k: _number(k, v) for k, v in options.items() if k in NUMBERS}
    weighed = options.pop("class_weights", "auto")
    if weighed not in CLASS_WEIGHTS:
        raise SettingsError("class weights must be auto, yes or no; choose one of them")
    if CLASS_WEIGHTS[weighed] is not None:
        options["class_weights"] = CLASS_WEIGHTS[weighed]
    if options.get("precision", "auto") not in PRECISIONS:
        raise SettingsError(f"precision must be one of {', '.join(PRECISIONS)}; choose one of them")
    options |= {"method": method, "effort": effort, "unfreeze": unfreeze}
    if method == "features":
        options = {k: v for k, v in options.items() if k not in OF_PHASES}
        options["unfreeze"] = "none"
    return options


def _is_filled(value) -> bool:
    return value is not None and str(value).strip() != ""


def _number(name: str, value) -> int | float:
    """Whole numbers as such. An empty number field is 0 for the browser, so these are texts."""
    try:
        number = float(str(value)[:LONGEST_NUMBER])
    except ValueError:
        shown = str(value)[:LONGEST_NUMBER]
        raise SettingsError(
            f"{name.replace('_', ' ')} must be a number, found {shown!r}; leave it empty to have "
            "it chosen from the data"
        ) from None
    return int(number) if number.is_integer() else number
