"""A finished run → a folder that timm and transformers load as they are, with the same scores.

timm's VGG computes three affine maps with ReLU between them, on a map of 7 x 7: `pre_logits.fc1`
(a 7 x 7 convolution), `pre_logits.fc2` (1 x 1) and `head.fc`. Pooling, standardising and up to two
hidden layers fit into these exactly.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from transfer.data.source import load_splits
from transfer.errors import ImageError, RunError, SettingsError, TransferError
from transfer.model.vgg import Head, Network
from transfer.publishing.size_estimate import KERNEL, check_exportable
from transfer.runs.run import Run, read_network, read_run

FORMATS = ("timm",)
TENSORS, CONFIG = "model.safetensors", "config.json"
WIDTH = 4096  # what timm's fc2 gives
TOLERANCE = 1e-4
PHOTOS = 4
Affine = tuple[torch.Tensor, torch.Tensor]


def export(run: str | Path | Run, out: str | Path, format: str = "timm") -> Path:
    """Write a finished run to the new or empty folder `out` as model.safetensors and config.json.

    Load it with `timm.create_model("local-dir:OUT", pretrained=True)` or
    `transformers.pipeline("image-classification", model="OUT")`; neither needs this package. The
    folder is loaded with timm and compared with the run before it is put in place: whole or absent.
    They decode every picture in full; a JPEG at least four times the run's size, which this package
    decodes at a part of it, may score a little differently there.
    Raises SettingsError, RunError or WeightsError.
    """
    if format not in FORMATS:
        raise SettingsError(f"format must be one of {', '.join(FORMATS)}, found {format!r}")
    out = Path(out).expanduser()
    _check_free(out)
    run = run if isinstance(run, Run) else read_run(run)
    check_exportable(run)
    network = read_network(run)
    tensors = timm_tensors(network, run.transform.image_size // 32)
    with _new_folder(out) as folder:
        _write(folder, tensors, timm_config(run, tensors))
        _check(folder, run, network)
    return out


def timm_tensors(network: Network, side: int) -> dict[str, torch.Tensor]:
    """All of timm's VGG, float32, by its names, for a body whose output is `side` x `side`.

    `pre_logits` is as wide as it must be. Raises RunError when the head does not fit.
    """
    head = network.head
    first, second, last = _three_maps(_folded(head))
    carried = len(second[1])
    if carried > WIDTH:
        raise RunError(
            f"expected at most {WIDTH} numbers before the last layer, found {carried}; timm's VGG "
            "cannot hold this head; train again with one hidden layer or average pooling"
        )
    spare = WIDTH - carried
    tensors = {f"features.{name}": t for name, t in network.features.state_dict().items()} | {
        "pre_logits.fc1.weight": _kernel(first[0], head.pooling, side),
        "pre_logits.fc1.bias": first[1],
        "pre_logits.fc2.weight": functional.pad(second[0], (0, 0, 0, spare))[:, :, None, None],
        "pre_logits.fc2.bias": functional.pad(second[1], (0, spare)),
        "head.fc.weight": functional.pad(last[0], (0, spare)),
        "head.fc.bias": last[1],
    }
    return {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}


@torch.no_grad()
def _folded(head: Head) -> list[Affine]:
    """The linear layers, float64 (out, in) and (out,), the first one on features as they are."""
    linear = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
    (weight, bias), *above = [(layer.weight.double(), layer.bias.double()) for layer in linear]
    weight = weight * head.scale.double()
    return [(weight, bias - weight @ head.mean.double()), *above]


def _three_maps(maps: list[Affine]) -> list[Affine]:
    """One, two or three affine maps → three with ReLU between that compute the same.

    The first one costs 49 x 512 numbers a row, so it has as few rows as will do. Features are
    never negative: ReLU leaves them as they are, so they can be passed on to the next map. What
    may be negative passes as its positive and its negative part.
    """
    if len(maps) == 3:
        return maps
    (weight, bias), *above = maps
    rows, features = weight.shape
    if above:
        if features < rows:
            return [_unchanged(features), (weight, bias), *above]
        return [(weight, bias), _unchanged(rows), *above]
    if features < 2 * rows:
        return [_unchanged(features), _unchanged(features), (weight, bias)]
    parts = torch.cat([weight, -weight]), torch.cat([bias, -bias])
    one = torch.eye(rows, dtype=weight.dtype)
    return [parts, _unchanged(2 * rows), (torch.cat([one, -one], dim=1), torch.zeros_like(bias))]


def _unchanged(width: int) -> Affine:
    return torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)


def _kernel(weight: torch.Tensor, pooling: str, side: int) -> torch.Tensor:
    """A map on pooled features, (out, width) → the same on timm's 7 x 7, (out, C, 7, 7).

    timm grows a smaller map x to A x Aᵀ by adaptive pooling; A has full rank, so its
    pseudo-inverse P gives Pᵀ K P, which finds in the grown map what K finds in x.
    """
    if pooling == "avg":
        kernel = (weight / side**2)[:, :, None, None].expand(-1, -1, side, side)
    else:
        kernel = weight.unflatten(1, (-1, side, side))
    if side == KERNEL:
        return kernel
    one = torch.eye(side, dtype=weight.dtype)
    grow = functional.adaptive_avg_pool1d(one[None], KERNEL)[0].T  # (7, side)
    shrink = torch.linalg.pinv(grow)  # (side, 7)
    return torch.einsum("ochw,hi,wj->ocij", kernel, shrink, shrink)


def timm_config(run: Run, tensors: dict[str, torch.Tensor]) -> dict:
    """What stands in config.json: how timm builds this model and prepares a picture for it."""
    transform, classes = run.transform, list(run.classes)
    width, channels = tensors["pre_logits.fc1.weight"].shape[:2]
    return {
        "architecture": run.settings.architecture,
        "num_classes": len(classes),
        "num_features": channels,
        "global_pool": "avg",
        "label_names": classes,
        # timm takes int(4096 * mlp_ratio); a fraction of 4096 is exact
        "model_args": {"mlp_ratio": width / WIDTH},
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [3, transform.image_size, transform.image_size],
            "fixed_input_size": False,
            "interpolation": transform.interpolation,
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": list(transform.mean),
            "std": list(transform.std),
            "num_classes": len(classes),
            "pool_size": [KERNEL, KERNEL],
            "first_conv": "features.0",
            "classifier": "head.fc",
        },
    }


def _check_free(out: Path) -> None:
    try:
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise _unwritable(out, error) from None
    if taken:
        raise RunError(
            f"expected a new or empty folder to export to, found {out.name!r} with something in "
            "it; choose another name or remove it"
        )


def _unwritable(out: Path, error: OSError) -> RunError:
    reason = error.strerror or "no reason given"
    return RunError(f"the folder {out.name!r} cannot be written ({reason}); choose another place")


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` once all went well and is gone otherwise."""
    there = out.is_dir()
    part = (out if there else out.parent) / f".{out.name}.{os.getpid()}.part"
    try:
        part.mkdir(parents=True)
        yield part
        if there:  # it may be a mount, which cannot be replaced
            for name in (TENSORS, CONFIG):  # nothing takes the folder before its config is there
                (part / name).replace(out / name)
        else:
            part.rename(out)
    except OSError as error:
        raise _unwritable(out, error) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(folder: Path, tensors: dict[str, torch.Tensor], config: dict) -> None:
    from safetensors.torch import save

    # transformers refuses a file that does not say which library its tensors are of
    (folder / TENSORS).write_bytes(save(tensors, metadata={"format": "pt"}))
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _check(folder: Path, run: Run, network: Network) -> None:
    """Raises RunError unless timm alone finds in pictures what the run's network finds."""
    try:
        found = _difference(folder, run, network)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = str(error).partition("\n")[0][:100]
        raise RunError(
            f"expected timm to load what was exported, found {reason!r}, so nothing was written; "
            "use the version of timm that requirements.txt names"
        ) from None
    if not found <= TOLERANCE:  # not a number is no agreement either
        raise RunError(
            f"expected the exported network to score as the run does, found logits {found:.2g} "
            f"apart (at most {TOLERANCE:g}), so nothing was written; train again"
        )


@torch.inference_mode()
def _difference(folder: Path, run: Run, network: Network) -> float:
    """The largest difference of a logit, each side preparing the same pictures in its own way."""
    import timm

    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    if tuple(model.pretrained_cfg["label_names"]) != run.classes:
        raise ValueError("other class names")
    config = timm.data.resolve_model_data_config(model)
    prepare = timm.data.create_transform(**config, is_training=False)
    apart = []
    for picture in check_pictures(run):
        pixels = torch.from_numpy(run.transform.resized(picture))
        ours = network(run.transform.normalise(pixels[None]))
        apart.append((model(prepare(picture)[None]) - ours).abs().max())
    return float(torch.stack(apart).max())


def check_pictures(run: Run) -> list[Image.Image]:
    """On what two networks of a run are compared: RGB of several shapes, and photos of its own."""
    return [*_clouds(run.transform.image_size), *_photos(run)]


def _clouds(side: int) -> Iterator[Image.Image]:
    """Always the same pictures, coarse and fine as photos are: a square, a wide and a tall one."""
    noise = np.random.default_rng(0)
    for size in ((side, side), (2 * side, side), (side, side + side // 2)):
        layers = [
            Image.fromarray(noise.integers(0, 256, (grain, grain, 3), dtype=np.uint8)).resize(size)
            for grain in (3, 8, 24, 64)
        ]
        mixed = np.average([np.asarray(layer) for layer in layers], axis=0, weights=(8, 4, 2, 1))
        yield Image.fromarray(mixed.round().astype(np.uint8))


def _photos(run: Run) -> Iterator[Image.Image]:
    """A few of the run's test images, where its source still lies on this machine."""
    source = str(run.record.get("source"))
    try:
        if source != "digits" and not Path(source).expanduser().is_dir():
            return
        test = load_splits(source, run.settings).splits["test"]
    except (TransferError, OSError, RuntimeError):
        return
    for i in np.linspace(0, len(test) - 1, min(PHOTOS, len(test))).astype(int):
        try:
            yield run.transform.load(test.read(int(i)))
        except ImageError:
            continue
