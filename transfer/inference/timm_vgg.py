"""A folder with config.json and model.safetensors → the VGG that timm would build from it."""

import math
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from transfer.errors import RunError
from transfer.inference.timm_config import CONFIG, TimmConfig
from transfer.runs.run import TENSORS

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".tar")
FLOATS = ("F16", "BF16", "F32", "F64")
# torchvision's names of the layers that timm turned into convolutions
TORCHVISION = {
    "classifier.0": "pre_logits.fc1",
    "classifier.3": "pre_logits.fc2",
    "classifier.6": "head.fc",
}


def check_tensors(files: Iterable[str]) -> None:
    """Raises RunError unless a model's files include its tensors in one safetensors file."""
    files = set(files)
    if TENSORS in files:
        return
    pickles = sorted(name for name in files if name.endswith(PICKLES))
    found = f"{pickles[0][:60]!r}, a pickle, which is never loaded" if pickles else "none"
    if any(name.endswith(".safetensors.index.json") for name in files):
        found = "several shards"
    raise RunError(f"expected {TENSORS}, found {found}; choose a model that has it")


def read_vgg(folder: Path, config: TimmConfig) -> nn.Module:
    """The network, float32, in eval mode: normalised (N, 3, H, W) → logits (N, classes).

    Nothing is allocated before the file's header agrees with config.json. Raises RunError.
    """
    import timm

    check_tensors(path.name for path in folder.iterdir())
    with torch.device("meta"):  # shapes without memory
        network = timm.create_model(
            config.architecture, num_classes=len(config.classes), **config.arguments
        )
    expected = network.state_dict()
    try:
        with safe_open(folder / TENSORS, framework="pt") as file:
            names = {_timm_name(name): name for name in file.keys()}  # noqa: SIM118
            _check_names(names.keys(), expected.keys())
            for name, tensor in expected.items():
                _check_header(name, file.get_slice(names[name]), tensor)
            read = {name: file.get_tensor(names[name]) for name in expected}
    except (SafetensorError, OSError, ValueError):
        raise RunError(f"{TENSORS} is cut or damaged; download or export it again") from None
    state = {name: read[name].reshape(t.shape).to(t.dtype) for name, t in expected.items()}
    if unfit := [n for n, t in state.items() if not t.isfinite().all()]:
        raise RunError(f"{unfit[0]} in {TENSORS} is not finite; choose another model")
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()


def _timm_name(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    return f"{TORCHVISION.get(layer, layer)}.{kind}"


def _check_names(found: Iterable[str], expected: Iterable[str]) -> None:
    missing, extra = sorted(expected - found), sorted(found - expected)
    if missing or extra:
        what = f"no {missing[0]}" if missing else f"{extra[0][:60]!r} too"
        raise RunError(
            f"expected the tensors of the network that {CONFIG} describes in {TENSORS}, found "
            f"{what}; the two files are of different models"
        )


def _check_header(name: str, found, expected: torch.Tensor) -> None:
    """Shape and dtype, from the file's header alone."""
    shape, wanted = tuple(found.get_shape()), tuple(expected.shape)
    # torchvision's fully-connected layers: (4096, 25088) is timm's convolution (4096, 512, 7, 7)
    flat = name.startswith("pre_logits") and shape == (wanted[0], math.prod(wanted[1:]))
    if shape != wanted and not flat:
        raise RunError(
            f"expected {name} with shape {wanted} in {TENSORS}, as {CONFIG} says, found {shape}; "
            "the two files are of different models"
        )
    if expected.is_floating_point() and found.get_dtype() not in FLOATS:
        kind = found.get_dtype()
        raise RunError(f"{name} of {TENSORS} is {kind}; choose a model that is not quantised")
