"""A finished run → a folder that timm and transformers load directly, with the same scores.

timm's VGG (timm/models/vgg.py) computes `features → pre_logits → head`. The last two are three
affine maps with ReLU between them, on a feature map of 512 x 7 x 7:

    pre_logits.fc1   a 7 x 7 convolution, 512 → 4096 * mlp_ratio
    pre_logits.fc2   a 1 x 1 convolution → 4096
    head.fc          linear → classes

A smaller feature map is first enlarged to 7 x 7 by adaptive average pooling. Our head (pooling,
standardisation, up to two hidden layers) is rewritten exactly in these three maps.
"""

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from transfer.errors import RunError
from transfer.inference.timm_config import CONFIG
from transfer.model.vgg import Head, Network
from transfer.publishing.check_images import check_images
from transfer.publishing.sizes import KERNEL, WIDTH, check_exportable
from transfer.runs.run import TENSORS, Run, read_network

TOLERANCE = 1e-4  # of a logit
Affine = tuple[torch.Tensor, torch.Tensor]  # weight (out, in) and bias (out,), float64


def write_timm(run: Run, folder: Path) -> None:
    """Write the two files, load them with timm, and compare it with the run. Raises RunError."""
    from safetensors.torch import save

    check_exportable(run)
    network = read_network(run)
    tensors = timm_tensors(network, run.transform.image_size // 32)
    config = timm_config(run, tensors)
    # transformers refuses a file that does not say which library its tensors are for
    (folder / TENSORS).write_bytes(save(tensors, metadata={"format": "pt"}))
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _check(folder, run, network)


def timm_tensors(network: Network, side: int) -> dict[str, torch.Tensor]:
    """All tensors of timm's VGG, float32, for a body whose output is 512 x `side` x `side`.

    `pre_logits` is as wide as necessary. Raises RunError if the head does not fit.
    """
    head = network.head
    first, second, last = _three_maps(_affine_maps(head))
    used = len(second[1])  # outputs of fc2 that carry something; the others stay zero
    if used > WIDTH:
        raise RunError(
            f"expected at most {WIDTH} numbers before the last layer, found {used}; timm's VGG "
            "cannot hold this head; train again with one hidden layer or average pooling"
        )
    spare = WIDTH - used
    tensors = {f"features.{name}": t for name, t in network.features.state_dict().items()} | {
        "pre_logits.fc1.weight": _kernel(first[0], head.pooling, side),  # (rows, 512, 7, 7)
        "pre_logits.fc1.bias": first[1],  # (rows,)
        # (used, rows) → (4096, rows, 1, 1)
        "pre_logits.fc2.weight": functional.pad(second[0], (0, 0, 0, spare))[:, :, None, None],
        "pre_logits.fc2.bias": functional.pad(second[1], (0, spare)),  # (4096,)
        "head.fc.weight": functional.pad(last[0], (0, spare)),  # (classes, used) → (classes, 4096)
        "head.fc.bias": last[1],  # (classes,)
    }
    return {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}


@torch.no_grad()
def _affine_maps(head: Head) -> list[Affine]:
    """The head's one to three linear layers; the first one takes pooled features as they are.

    W((x - mean) * scale) + b = (W * scale) x + (b - (W * scale) mean)
    """
    linear = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
    (weight, bias), *above = [(layer.weight.double(), layer.bias.double()) for layer in linear]
    weight = weight * head.scale.double()  # (out, features) * (features,)
    return [(weight, bias - weight @ head.mean.double()), *above]


def _three_maps(maps: list[Affine]) -> list[Affine]:
    """One, two or three affine maps → three with ReLU between them that compute the same.

    A row of the first map becomes a kernel of 512 x 7 x 7 numbers, so it gets as few rows as
    possible. Features are never negative: ReLU lets them pass, so an identity can come first.
    """
    if len(maps) == 3:
        return maps
    (weight, bias), *above = maps
    rows, features = weight.shape
    if above:  # one hidden layer: ReLU(ReLU(x)) = ReLU(x), so the second map can be an identity
        if features < rows:
            return [_identity(features), (weight, bias), *above]
        return [(weight, bias), _identity(rows), *above]
    if features < 2 * rows:  # no hidden layer
        return [_identity(features), _identity(features), (weight, bias)]
    # z may be negative, so z and -z pass side by side: z = ReLU(z) - ReLU(-z)
    both = torch.cat([weight, -weight]), torch.cat([bias, -bias])  # (2 rows, features), (2 rows,)
    one = torch.eye(rows, dtype=weight.dtype)
    difference = torch.cat([one, -one], dim=1)  # (rows, 2 rows)
    return [both, _identity(2 * rows), (difference, torch.zeros_like(bias))]


def _identity(width: int) -> Affine:
    return torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)


def _kernel(weight: torch.Tensor, pooling: str, side: int) -> torch.Tensor:
    """(out, features) on pooled features → a kernel (out, 512, 7, 7) on timm's feature map.

    timm enlarges a smaller map x (side, side) to A x Aᵀ (7, 7). A has full column rank, so with its
    pseudo-inverse P (P A = I) the kernel Pᵀ K P finds in A x Aᵀ what K finds in x:
    ⟨Pᵀ K P, A x Aᵀ⟩ = ⟨K, P A x Aᵀ Pᵀ⟩ = ⟨K, x⟩.
    """
    if pooling == "avg":  # (out, 512) → the same weight / side² at each place
        kernel = (weight / side**2)[:, :, None, None].expand(-1, -1, side, side)
    else:  # (out, 512 * side * side) → (out, 512, side, side)
        kernel = weight.unflatten(1, (-1, side, side))
    if side == KERNEL:
        return kernel
    one = torch.eye(side, dtype=weight.dtype)
    enlarge = functional.adaptive_avg_pool1d(one[None], KERNEL)[0].T  # A: (7, side)
    shrink = torch.linalg.pinv(enlarge)  # P: (side, 7)
    return torch.einsum("ochw,hi,wj->ocij", kernel, shrink, shrink)


def timm_config(run: Run, tensors: dict[str, torch.Tensor]) -> dict:
    """config.json: how timm builds this model and prepares an image for it."""
    transform, classes = run.transform, list(run.classes)
    rows, channels = tensors["pre_logits.fc1.weight"].shape[:2]
    return {
        "architecture": run.settings.architecture,
        "num_classes": len(classes),
        "num_features": channels,
        "global_pool": "avg",
        "label_names": classes,
        "greys": transform.to_json()["greys"],  # for this package: timm knows 8 bits only
        # timm takes int(4096 * mlp_ratio); a multiple of 1/4096 is exact
        "model_args": {"mlp_ratio": rows / WIDTH},
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


def _check(folder: Path, run: Run, network: Network) -> None:
    """Raises RunError unless timm finds in images what the run's network finds."""
    try:
        found = _difference(folder, run, network)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = str(error).partition("\n")[0][:100]
        raise RunError(
            f"expected timm to load what was exported, found {reason!r}, so nothing was written; "
            "use the version of timm that requirements.txt names"
        ) from None
    if not found <= TOLERANCE:  # NaN is refused as well
        raise RunError(
            f"expected the exported network to score as the run does, found logits {found:.2g} "
            f"apart (at most {TOLERANCE:g}), so nothing was written; train again"
        )


@torch.inference_mode()
def _difference(folder: Path, run: Run, network: Network) -> float:
    """The largest difference of a logit, with each side preparing the images in its own way."""
    import timm

    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    if tuple(model.pretrained_cfg["label_names"]) != run.classes:
        raise ValueError("other class names")
    config = timm.data.resolve_model_data_config(model)
    prepare = timm.data.create_transform(**config, is_training=False)
    differences = []
    for image in check_images(run):
        pixels = torch.from_numpy(run.transform.resized(image))  # uint8
        ours = network(run.transform.normalise(pixels[None]))  # (1, classes)
        differences.append((model(prepare(image)[None]) - ours).abs().max())
    return float(torch.stack(differences).max())
