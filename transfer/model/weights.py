"""Where the body comes from, and saying so."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from transfer.cache.paths import cache_errors, cache_folder
from transfer.errors import WeightsError
from transfer.events import BodyProgress
from transfer.model.download.backbone import at_hand, fetching

BUNDLED = Path(__file__).parent / "bundled" / "vgg16-tiny-imagenet.safetensors"
HUB_FILE, PREFIX = "model.safetensors", "features."


@dataclass(frozen=True, kw_only=True)
class Body:
    """Tensors `features.*`, float32, and what is known of them.

    `weights` is `hub`, `bundled`, `random` or `file:NAME`; `reason` says in a sentence why these;
    `sha256` is of the tensors themselves, whatever file they came in.
    """

    weights: str
    reason: str
    tensors: dict[str, torch.Tensor]
    sha256: str
    revision: str | None = None

    def identity(self) -> dict:
        """What a run needs to find this body again."""
        return {"weights": self.weights, "sha256": self.sha256, "revision": self.revision}


def find_body(weights: str, architecture: str, seed: int) -> Body:
    """`finding_body` in one call, with a bar on stderr while the body is downloaded."""
    return _drained(finding_body(weights, architecture, seed))


def finding_body(weights: str, architecture: str, seed: int) -> Iterator[BodyProgress]:
    """Find the body that the user asked for by name; returns it, yields how a download goes on.

    `auto` takes what is on this machine, else the Hub if it answers in time, else the bundled body.
    Raises WeightsError, or CacheError where a body cannot be kept.
    """
    if weights == "auto":
        return (yield from _auto(architecture))
    if weights == "hub":
        return (yield from _from_hub(architecture, "asked for"))
    if weights == "bundled":
        return _bundled(architecture, "asked for")
    if weights == "random":
        return _random(architecture, seed)
    return _from_file(weights, architecture)


def find_body_again(identity: dict, architecture: str, seed: int) -> Body:
    """The body that a run was trained on, checked by hash. Raises WeightsError."""
    weights, sha256 = identity["weights"], identity["sha256"]
    if weights == "hub":
        body = _drained(_from_hub(architecture, "as trained", identity.get("revision")))
    elif weights.startswith("file:"):
        body = _kept(weights, sha256, architecture)
    else:
        body = find_body(weights, architecture, seed)
    if body.sha256 != sha256:
        raise WeightsError(
            f"expected the body {weights} with sha256 {sha256[:12]}…, found {body.sha256[:12]}…; "
            "use the version of this package that trained the run, or train again"
        )
    return body


def _drained(steps: Iterator[BodyProgress]) -> Body:
    """What it returns; a download shows the bar of the Hub's client, as its others do."""
    with ExitStack() as stack:
        bar = None
        while True:
            try:
                come = next(steps)
            except StopIteration as end:
                return end.value
            if bar is None:
                bar = stack.enter_context(_bar(come.total_bytes))
            bar.update(come.done_bytes - bar.n)


def _bar(total_bytes: int):
    from huggingface_hub.utils import tqdm

    return tqdm(desc="body", total=total_bytes, unit="B", unit_scale=True)


def build_body(architecture: str) -> nn.Sequential:
    """timm's `features` alone, holding no memory yet: (N, 3, S, S) → (N, 512, S/32, S/32).

    timm's `num_classes=0` would keep the 4096-wide `pre_logits`, which is old head, not body.
    """
    import timm

    with torch.device("meta"):
        return timm.create_model(architecture).features


def load_body(features: nn.Sequential, tensors: dict[str, torch.Tensor]) -> nn.Sequential:
    """Put `features.*` tensors into a body made by `build_body`. Raises WeightsError."""
    for name, empty in features.state_dict().items():
        found = tensors.get(f"features.{name}")
        if found is None:
            raise WeightsError(
                f"expected the tensor features.{name} of this VGG, found none; choose a file of "
                "the same VGG, without batch norm, with timm's or torchvision's names"
            )
        if found.shape != empty.shape:
            raise WeightsError(
                f"expected features.{name} with shape {tuple(empty.shape)}, found "
                f"{tuple(found.shape)}; choose a file of the same VGG, without batch norm"
            )
    state = {
        name: tensors[f"features.{name}"].detach().to(torch.float32, copy=True)
        for name in features.state_dict()
    }
    features.load_state_dict(state, assign=True)
    return features


def _auto(architecture: str) -> Iterator[BodyProgress]:
    if body := _at_hand(architecture):
        return body
    try:
        return (yield from _from_hub(architecture, "the Hub answered"))
    except WeightsError as error:
        if architecture != "vgg16":
            raise
        return _bundled(architecture, f"ImageNet's body is not at hand ({error})")


def _from_hub(
    architecture: str, reason: str, revision: str | None = None
) -> Iterator[BodyProgress]:
    if body := _at_hand(architecture, f"{reason}; ", revision):
        return body
    path, commit = yield from fetching(_repository(architecture), HUB_FILE, revision, PREFIX)
    return _read_hub(path, commit, architecture, f"{reason}; downloaded")


def _at_hand(architecture: str, reason: str = "", revision: str | None = None) -> Body | None:
    """What an earlier download left on this machine."""
    found = at_hand(_repository(architecture), HUB_FILE, revision, PREFIX)
    if found is None:
        return None
    path, commit, where = found
    return _read_hub(path, commit, architecture, f"{reason}found in {where}")


def _repository(architecture: str) -> str:
    return f"timm/{architecture}.tv_in1k"


def _read_hub(path: Path, revision: str, architecture: str, reason: str) -> Body:
    return _body("hub", reason, _read(path), architecture, revision=revision)


def _bundled(architecture: str, reason: str) -> Body:
    if architecture != "vgg16":
        raise WeightsError(f"expected vgg16 for the bundled body, found {architecture}; use random")
    reason = f"{reason}; a small stand-in for ImageNet's, which would do better"
    return _body("bundled", reason, _read(BUNDLED), architecture)


def _random(architecture: str, seed: int) -> Body:
    """He initialisation (He et al. 2015) as timm's VGG has it, zero biases."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, empty in build_body(architecture).state_dict().items():
        tensor = torch.zeros(empty.shape)
        if tensor.ndim == 4:
            fan_out = tensor.shape[0] * tensor.shape[2] * tensor.shape[3]
            tensor.normal_(0, (2 / fan_out) ** 0.5, generator=generator)
        tensors[f"features.{name}"] = tensor
    return _body("random", "asked for: it has learned nothing yet", tensors, architecture)


def _from_file(weights: str, architecture: str) -> Body:
    try:
        path = Path(weights).expanduser()
        found = path.is_file()
    except (OSError, RuntimeError, ValueError):  # too long for a name, or of an unknown user
        found = False
    if not found:
        raise WeightsError(
            "expected weights auto, hub, bundled, random or a file (.safetensors, .pth), found "
            f"{Path(weights).name[:80]!r}, which is not here; check its name"
        )
    body = _body(f"file:{path.name}", "asked for", _read(path), architecture)
    _keep(body)
    return body


def _kept_path(sha256: str) -> Path:
    return cache_folder() / "bodies" / f"{sha256}.safetensors"


def _keep(body: Body) -> None:
    """Runs hold only what they changed, so a body from a file stays at hand after the file goes.

    Raises CacheError.
    """
    from safetensors.torch import save

    target = _kept_path(body.sha256)
    part = target.with_suffix(f".{os.getpid()}.part")
    with cache_errors():
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(save(body.tensors))
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


def _kept(weights: str, sha256: str, architecture: str) -> Body:
    path = _kept_path(sha256)
    if not path.is_file():
        raise WeightsError(
            f"expected the body {weights} (sha256 {sha256[:12]}…) in this machine's cache, found "
            "none; train once with that file as --weights, or set TRANSFER_CACHE"
        )
    return _body(weights, "as trained", _read(path), architecture)


def _body(weights: str, reason: str, tensors: dict, architecture: str, **known) -> Body:
    features = load_body(build_body(architecture), tensors)
    body = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
    return Body(weights=weights, reason=reason, tensors=body, sha256=tensors_hash(body), **known)


def tensors_hash(tensors: dict[str, torch.Tensor]) -> str:
    """sha256 over names, shapes and float32 bytes, by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(memoryview(tensor.numpy()).cast("B"))
    return digest.hexdigest()


def _read(path: Path) -> dict[str, torch.Tensor]:
    """safetensors, or a state dict of tensors alone; nothing in the file is ever run."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    advice = "download it again, or choose a .safetensors or .pth file of tensors"
    cut = WeightsError(f"the weights {path.name!r} are cut or no such file; {advice}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError):
        raise cut from None
    except Exception:
        if not _is_pickle(path):
            raise cut from None
        raise WeightsError(
            f"{path.name!r} holds more than tensors, so it is not read; {advice}"
        ) from None
    if not isinstance(tensors, dict) or not all(
        isinstance(t, torch.Tensor) for t in tensors.values()
    ):
        raise WeightsError(f"expected tensors by name in {path.name!r}, found none; {advice}")
    return tensors


def _is_pickle(path: Path) -> bool:
    """Whether it begins as torch's files do, zipped or not."""
    with path.open("rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80"))
