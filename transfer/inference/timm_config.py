"""config.json as timm writes it → what the network is, its classes and how a picture is prepared.

It comes from anybody, so it is read as data: each field that counts is checked, the others are
left alone, and nothing that it names is ever imported.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from transfer.data.transform import IMAGENET_MEAN, IMAGENET_STD, TimmTransform
from transfer.errors import RunError

CONFIG = "config.json"
VGG = re.compile(r"(vgg(?:11|13|16|19)(?:_bn)?)(?:\.\w{1,40})?")
POOLS = ("avg", "max", "avgmax", "catavgmax")
CROP_MODES = ("center", "squash", "border")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
SIDES, CROPS = (32, 1024), (0.25, 4.0)
MOST_CLASSES = 100_000
LONGEST_LABEL = 200
IMAGENET_CLASSES = 1000
HARMFUL = ("Cc", "Cs", "Zl", "Zp")  # of Unicode: controls, half characters, breaks of lines


@dataclass(frozen=True, kw_only=True)
class TimmConfig:
    """`architecture` is one of timm's VGGs; `arguments` are those of its builder besides."""

    architecture: str
    classes: tuple[str, ...]
    transform: TimmTransform
    arguments: dict[str, object] = field(default_factory=dict)


def read_config(path: Path) -> TimmConfig:
    """Raises RunError, naming what does not fit."""
    config = _read_json(path)
    pretrained = _record(config, "pretrained_cfg") or config  # older ones have but one level
    arguments = _record(config, "model_args")
    architecture = _architecture(config)
    count = _class_count(config, pretrained, arguments)
    names = [("label_names", config), ("label_names", pretrained), ("labels", config)]
    labels = next((held[name] for name, held in names if held.get(name)), None)
    return TimmConfig(
        architecture=architecture,
        classes=_classes(labels, count),
        transform=_transform(pretrained),
        arguments=_arguments(arguments),
    )


def _read_json(path: Path) -> dict:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise RunError(f"{CONFIG} is cut or damaged; download or export it again") from None
    if not isinstance(config, dict):
        raise RunError(f"expected a record in {CONFIG}, found none; download or export it again")
    return config


def _record(config: dict, name: str) -> dict:
    found = config.get(name) or {}
    if not isinstance(found, dict):
        raise _unfit(name, "a record", found)
    return found


def _unfit(name: str, expected: str, found: object) -> RunError:
    return RunError(
        f"expected {name} in {CONFIG} to be {expected}, found {_shown(found)}; choose another model"
    )


def _shown(value: object) -> str:
    """In quotes, short and harmless, whatever it is."""
    text = harmless(value if isinstance(value, str) else repr(value))
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _architecture(config: dict) -> str:
    """timm's name of it without tag."""
    found = config.get("architecture")
    if found is None:
        kind = config.get("model_type")
        raise RunError(
            f"expected an image classifier of timm, with its architecture in {CONFIG}, found "
            f"{f'a model of type {_shown(kind)}' if kind else 'none'}; choose a VGG of timm, or a "
            "run that was published"
        )
    vgg = VGG.fullmatch(found) if isinstance(found, str) else None
    if vgg is None or not _has_timm(vgg[1]):
        raise RunError(
            "expected a VGG of timm (vgg11, vgg13, vgg16 or vgg19, or one of these with _bn), "
            f"found {_shown(found)}; choose another model"
        )
    return vgg[1]


def _has_timm(architecture: str) -> bool:
    import timm

    return timm.is_model(architecture)


def _class_count(config: dict, pretrained: dict, arguments: dict) -> int:
    """timm has it in three places, which must agree."""
    told = [held.get("num_classes") for held in (config, arguments)]
    told = [count for count in told if count is not None]
    told = told or [pretrained.get("num_classes", IMAGENET_CLASSES)]
    for count in told:
        if not _is_whole(count, 1, MOST_CLASSES):
            raise _unfit("num_classes", f"a whole number from 1 to {MOST_CLASSES}", count)
    if len(set(told)) > 1:
        raise _unfit("num_classes", f"the same as in model_args ({told[1]})", told[0])
    return told[0]


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: object, low: float, high: float) -> bool:
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    return fits and low <= value <= high


def _arguments(found: dict) -> dict[str, object]:
    """Those of timm's builder that only say how large a layer is or which pooling comes."""
    checks = {
        "num_classes": lambda _: True,
        "drop_rate": lambda _: True,  # of no use to a network that does not learn
        "in_chans": lambda value: value == 3,
        "output_stride": lambda value: value == 32,
        "mlp_ratio": lambda value: _is_number(value, 1 / 4096, 4),
        "global_pool": lambda value: str(value).removeprefix("fast") in ("", *POOLS) and value,
    }
    for name, value in found.items():
        if name not in checks:
            raise RunError(
                f"expected arguments of timm's VGG in {CONFIG} ({', '.join(checks)}), found "
                f"{_shown(name)}; choose another model"
            )
        if not checks[name](value):
            raise _unfit(name, "one that a VGG for colour pictures can have", value)
    return {name: found[name] for name in ("mlp_ratio", "global_pool") if name in found}


def _classes(labels: object, count: int) -> tuple[str, ...]:
    """Those given, else ImageNet's where the number fits, else the classes' numbers."""
    if labels is None:
        names = _imagenet(count) or [f"class {i}" for i in range(count)]
    elif isinstance(labels, dict):
        names = _from_numbers(labels, count)
    elif isinstance(labels, list) and len(labels) == count:
        names = labels
    else:
        found = f"{len(labels)} of them" if isinstance(labels, list) else labels
        raise _unfit("label_names", f"names of its {count} classes", found)
    return printable(names)


def printable(names: Iterable[object]) -> tuple[str, ...]:
    """Names that do a terminal no harm and mean one class each: those that occur twice, and empty
    ones, get their class's number."""
    names = [harmless(name) for name in names]
    times = Counter(names)
    return tuple(
        name if name and times[name] == 1 else f"{name} ({i})".strip()
        for i, name in enumerate(names)
    )


def harmless(label: object) -> str:
    """A name that may be printed: one line, no control characters, no half of a character."""
    text = label if isinstance(label, str) else json.dumps(label)
    plain = (" " if unicodedata.category(sign) in HARMFUL else sign for sign in text)
    return " ".join("".join(plain).split())[:LONGEST_LABEL]


def _from_numbers(labels: dict, count: int) -> list:
    """From names by class number; a number may lack one."""
    for number in labels:
        if not (re.fullmatch(r"[0-9]{1,6}", number) and int(number) < count):
            raise _unfit("label_names", f"by numbers from 0 to {count - 1}", number)
    known = {int(number): label for number, label in labels.items()}
    return [known.get(i, f"class {i}") for i in range(count)]


def _imagenet(count: int) -> list[str]:
    """The words for each of ImageNet's classes, as transformers has them."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": count})
    words = ImageNetInfo(subset).label_descriptions() if subset else []
    return words if len(words) == count else []


def _transform(pretrained: dict) -> TimmTransform:
    """With timm's own defaults for what is missing."""
    size = pretrained.get("input_size") or [3, 224, 224]
    low, high = SIDES
    whole = isinstance(size, list) and len(size) == 3 and _is_whole(size[0], 3, 3)
    if not (whole and all(_is_whole(side, low, high) for side in size[1:])):
        raise _unfit("input_size", f"[3, height, width] of {low} to {high} pixels", size)
    mean, std = pretrained.get("mean") or IMAGENET_MEAN, pretrained.get("std") or IMAGENET_STD
    if not _are_three(mean, -10, 10):
        raise _unfit("mean", "three numbers", mean)
    if not _are_three(std, 1e-3, 1000):
        raise _unfit("std", "three numbers above 0", std)
    crop_pct = pretrained.get("crop_pct") or 0.875
    if not _is_number(crop_pct, *CROPS):
        raise _unfit("crop_pct", f"a number from {CROPS[0]} to {CROPS[1]}", crop_pct)
    return TimmTransform(
        image_size=min(size[1:]),
        height=size[1],
        width=size[2],
        mean=tuple(mean),
        std=tuple(std),
        interpolation=_one_of(pretrained, "interpolation", "bicubic", INTERPOLATIONS),
        crop_pct=crop_pct,
        crop_mode=_one_of(pretrained, "crop_mode", "center", CROP_MODES),
    )


def _are_three(value: object, low: float, high: float) -> bool:
    three = isinstance(value, list | tuple) and len(value) == 3
    return three and all(_is_number(v, low, high) for v in value)


def _one_of(held: dict, name: str, default: str, allowed: tuple[str, ...]) -> str:
    found = held.get(name) or default
    if found not in allowed:
        raise _unfit(name, f"one of {', '.join(allowed)}", found)
    return found
