"""A folder with config.json and model.safetensors → the VGG that timm would build from it."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import RunError
from transfer.inference.timm_config import CONFIG, TimmConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

TENSORS = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".tar")
FLOATS = ("F16", "BF16", "F32", "F64")
TORCHVISION = {
    "classifier.0": "pre_logits.fc1",
    "classifier.3": "pre_logits.fc2",
    "classifier.6": "head.fc",
}


def check_tensors(files: Iterable[str]) -> None:
    """Raises RunError unless a model's files have its tensors in the one form that is read."""
    files = set(files)
    if TENSORS in files:
        return
    if any(name.endswith(".safetensors.index.json") for name in files):
        raise RunError(
            f"expected one file {TENSORS}, found several shards; ask for the model as one file"
        )
    if pickles := sorted(name for name in files if name.endswith(PICKLES)):
        raise RunError(
            f"expected {TENSORS}, found {pickles[0][:60]!r}: it holds only pickle, which is never "
            "run; choose a model with safetensors"
        )
    raise RunError(f"expected {TENSORS}, found none; choose a model that has it")


def read_vgg(folder: Path, config: TimmConfig) -> "nn.Module":
    """The network, float32, in eval mode: normalised (N, 3, H, W) → logits (N, classes).

    Nothing is allocated before the file's header agrees with config.json. Raises RunError.
    """
    import timm
    import torch
    from safetensors import SafetensorError, safe_open

    check_tensors(path.name for path in folder.iterdir())
    with torch.device("meta"):
        network = timm.create_model(
            config.architecture, num_classes=len(config.classes), **config.arguments
        )
    try:
        with safe_open(folder / TENSORS, framework="pt") as file:
            state = _state(file, network.state_dict())
    except (SafetensorError, OSError, ValueError):
        raise RunError(f"{TENSORS} is cut or damaged; download or export it again") from None
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()


def _state(file, expected: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """All tensors by timm's names; those of torchvision are understood, as timm does."""
    names = {_timm_name(name): name for name in file.keys()}  # noqa: SIM118
    for name in names.keys() - expected.keys():
        raise RunError(
            f"expected no tensor {name[:60]!r} in {TENSORS} of this architecture, found one; "
            f"its {CONFIG} is of another model"
        )
    for name, empty in expected.items():
        if name not in names:
            raise RunError(
                f"expected the tensor {name} in {TENSORS}, found none; its {CONFIG} is of another "
                "model"
            )
        _check_layout(name, file.get_slice(names[name]), empty)
    return {
        name: _tensor(name, file.get_tensor(names[name]), empty) for name, empty in expected.items()
    }


def _timm_name(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    return f"{TORCHVISION.get(layer, layer)}.{kind}"


def _check_layout(name: str, found, empty: "torch.Tensor") -> None:
    """Shape and kind, from the header alone. torchvision's linear layers are convolutions here."""
    shape = tuple(found.get_shape())
    if name == "head.fc.weight" and shape[:1] != empty.shape[:1]:
        raise RunError(
            f"expected {empty.shape[0]} classes in {TENSORS}, as {CONFIG} says, found "
            f"{shape[0] if shape else 0}; one of them is of another model"
        )
    flat = name.startswith("pre_logits") and shape == (len(empty), math.prod(empty.shape[1:]))
    if shape != tuple(empty.shape) and not flat:
        raise RunError(
            f"expected {name} with shape {tuple(empty.shape)} in {TENSORS}, found {shape}; its "
            f"{CONFIG} is of another model"
        )
    if empty.is_floating_point() and found.get_dtype() not in FLOATS:
        raise RunError(
            f"expected {name} in {TENSORS} to be of floats, found {found.get_dtype()}; choose a "
            "model that is not quantised"
        )


def _tensor(name: str, found: "torch.Tensor", empty: "torch.Tensor") -> "torch.Tensor":
    import torch

    tensor = found.reshape(empty.shape).to(empty.dtype)
    if tensor.is_floating_point() and not torch.stack(tensor.aminmax()).isfinite().all():
        raise RunError(
            f"expected numbers in {name} of {TENSORS}, found some that are none (NaN or infinite); "
            "choose another model"
        )
    return tensor
