"""config.json as timm writes it → architecture, class names and transform.

The file may come from a stranger. It is read as data: values that would crash, take huge memory or
give wrong answers are refused, other fields are ignored, and nothing that it names is imported.
"""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import index
from pathlib import Path

from transfer.data.greys import GreyScale
from transfer.data.transform import IMAGENET_MEAN, IMAGENET_STD, TimmTransform
from transfer.errors import RunError

CONFIG = "config.json"
VGG = re.compile(r"(vgg(?:11|13|16|19)(?:_bn)?)(?:\.\w{1,40})?")  # timm's name with or without tag
POOLS = ("avg", "max", "avgmax", "catavgmax")
POOLS = (*POOLS, *(f"fast{pool}" for pool in POOLS))
CROP_MODES = ("center", "squash", "border")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
MIN_SIDE, MAX_SIDE = 32, 1024  # pixels; VGG halves a picture five times
MAX_CLASSES = 100_000
MAX_LABEL = 200  # characters
IMAGENET_CLASSES = 1000
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode: controls, surrogates, line and paragraph breaks


@dataclass(frozen=True, kw_only=True)
class TimmConfig:
    architecture: str  # one of timm's VGGs
    classes: tuple[str, ...]
    transform: TimmTransform
    arguments: dict[str, object] = field(default_factory=dict)  # of timm's builder


def read_config(path: Path) -> TimmConfig:
    """Raises RunError, which names the field that does not fit."""
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ArithmeticError, RecursionError, AttributeError, TypeError, ValueError):
        raise RunError(
            f"{CONFIG} is cut or damaged, or has a value of another kind than timm writes; "
            "download it again or choose another model"
        ) from None


def _parse(config: dict) -> TimmConfig:
    pretrained = config.get("pretrained_cfg") or config  # older files have a single level
    arguments = config.get("model_args") or {}
    counts = (held.get("num_classes") for held in (config, arguments, pretrained))
    count = next((count for count in counts if count is not None), IMAGENET_CLASSES)
    _check(1 <= index(count) <= MAX_CLASSES, "num_classes", count)
    labels = config.get("label_names") or pretrained.get("label_names") or config.get("labels")
    return TimmConfig(
        architecture=_architecture(config),
        classes=distinct_labels(_labels(labels, count)),
        transform=_transform(pretrained, config.get("greys")),
        arguments=_arguments(arguments),
    )


def _architecture(config: dict) -> str:
    import timm

    named = config.get("architecture") or f"a model of type {config.get('model_type')}"
    vgg = VGG.fullmatch(str(named))
    if vgg is None or not timm.is_model(vgg[1]):
        raise RunError(
            f"expected a VGG of timm as the architecture in {CONFIG} (vgg11, vgg13, vgg16, vgg19, "
            f"or one with _bn), found {_short(named)}; choose another model"
        )
    return vgg[1]


def _arguments(found: dict) -> dict[str, object]:
    """The arguments of timm's builder that change the network's shape.

    They are not passed on blindly: `act_layer`, for one, may name any function.
    """
    known = {"num_classes", "drop_rate", "in_chans", "output_stride", "mlp_ratio", "global_pool"}
    for name in found.keys() - known:
        _check(False, "the argument", name)
    _check(found.get("in_chans", 3) == 3, "in_chans", found.get("in_chans"))
    _check(found.get("output_stride", 32) == 32, "output_stride", found.get("output_stride"))
    ratio, pool = found.get("mlp_ratio", 1.0), found.get("global_pool", "avg")
    _check(0 < float(ratio) <= 4, "mlp_ratio", ratio)
    _check(pool in POOLS, "global_pool", pool)
    return {"mlp_ratio": float(ratio), "global_pool": pool}


def _labels(labels: list | dict | None, count: int) -> list:
    """One for each class: those given, else ImageNet's where their number fits, else numbers."""
    if labels is None:
        from timm.data import ImageNetInfo, infer_imagenet_subset

        subset = infer_imagenet_subset({"num_classes": count})
        names = ImageNetInfo(subset).label_descriptions() if subset else []
        return names if len(names) == count else [f"class {i}" for i in range(count)]
    if isinstance(labels, dict):
        by_number = {int(number): label for number, label in labels.items()}
        _check(by_number.keys() <= set(range(count)), "label_names", f"number {max(by_number)}")
        return [by_number.get(i, f"class {i}") for i in range(count)]
    _check(isinstance(labels, list) and len(labels) == count, "label_names", f"not {count} of them")
    return labels


def _transform(pretrained: dict, greys: dict | None) -> TimmTransform:
    """timm's own defaults stand in for what is missing."""
    channels, height, width = pretrained.get("input_size") or (3, 224, 224)
    sides = MIN_SIDE <= index(height) <= MAX_SIDE and MIN_SIDE <= index(width) <= MAX_SIDE
    _check(channels == 3 and sides, "input_size", pretrained.get("input_size"))
    found = {
        "mean": tuple(float(v) for v in pretrained.get("mean") or IMAGENET_MEAN),
        "std": tuple(float(v) for v in pretrained.get("std") or IMAGENET_STD),
        "crop_pct": float(pretrained.get("crop_pct") or 0.875),
        "crop_mode": pretrained.get("crop_mode") or "center",
        "interpolation": pretrained.get("interpolation") or "bicubic",
        "greys": None if greys is None else GreyScale.from_json(greys),
    }
    fits = {
        "mean": len(found["mean"]) == 3 and all(map(math.isfinite, found["mean"])),
        "std": len(found["std"]) == 3 and all(1e-3 <= v <= 1e3 for v in found["std"]),
        "crop_pct": 0.25 <= found["crop_pct"] <= 4,  # a tiny one would enlarge without limit
        "crop_mode": found["crop_mode"] in CROP_MODES,
        "interpolation": found["interpolation"] in INTERPOLATIONS,
    }
    for name, fit in fits.items():
        _check(fit, name, found[name])
    return TimmTransform(image_size=min(height, width), height=height, width=width, **found)


def distinct_labels(labels: Iterable[object]) -> tuple[str, ...]:
    """Printable names, one for each class: the class's number is added to equal or empty ones."""
    names = [_one_line(label) for label in labels]
    times = Counter(names)
    return tuple(
        name if name and times[name] == 1 else f"{name} ({i})".strip()
        for i, name in enumerate(names)
    )


def _one_line(label: object) -> str:
    """Without characters that a terminal would act on or that cannot be encoded."""
    plain = (" " if unicodedata.category(c) in UNPRINTABLE else c for c in str(label))
    return " ".join("".join(plain).split())[:MAX_LABEL]


def _check(fits: bool, name: str, found: object) -> None:
    if not fits:
        raise RunError(
            f"{CONFIG} cannot be used, found {name}: {_short(found)}; choose another model"
        )


def _short(value: object) -> str:
    text = _one_line(value)
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
