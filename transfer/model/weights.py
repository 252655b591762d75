"""Where the body's weights come from: the Hub, this package, a file, or a random generator."""

import hashlib
import os
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from transfer.cache.paths import cache_errors, cache_folder
from transfer.errors import WeightsError
from transfer.events import BodyProgress
from transfer.model.backbone_download import download_body, find_cached_body

BUNDLED = Path(__file__).parent / "bundled" / "vgg16-vgg-group.safetensors"
BUNDLED_SHA256 = "f9f89d047b302174ef10b9f0f58454ca262384f4b5b1db7642eead6b75b2884b"  # its tensors'


@dataclass(frozen=True, kw_only=True)
class Body:
    """Tensors `features.*`, float32, and where they come from.

    `weights` is `hub`, `bundled`, `random` or `file:NAME`; `reason` says in a sentence why these;
    `sha256` is of the tensors themselves, whatever file they came in.
    """

    weights: str
    reason: str
    tensors: dict[str, torch.Tensor]
    sha256: str
    revision: str | None = None

    def identity(self) -> dict:
        """What a run stores to find this body again."""
        return {"weights": self.weights, "sha256": self.sha256, "revision": self.revision}


BodySteps = Generator[BodyProgress, None, Body]


def find_body(weights: str, architecture: str, seed: int) -> Body:
    """Find the requested body, with a progress bar on stderr while it is downloaded.

    `auto` takes timm's body from this machine, else from the Hub if it answers in time, else the
    bundled one. Raises WeightsError, or CacheError where a body cannot be stored.
    """
    return _with_bar(find_body_with_progress(weights, architecture, seed))


def find_body_with_progress(weights: str, architecture: str, seed: int) -> BodySteps:
    """`find_body` as a generator: yields the progress of a download, returns the Body."""
    if weights == "auto":
        return (yield from _auto(architecture))
    if weights == "hub":
        return (yield from _from_hub(architecture, "as requested; "))
    if weights == "bundled":
        return _bundled(architecture, "as requested")
    if weights == "random":
        return _random(architecture, seed)
    return _from_file(weights, architecture)


def find_body_again(identity: dict, architecture: str, seed: int) -> Body:
    """The body that a run was trained on, checked by its hash. Raises WeightsError."""
    weights, sha256 = identity["weights"], identity["sha256"]
    if sha256 == BUNDLED_SHA256:  # also if the run read it from a file
        body = _bundled(architecture, "as trained")
    elif weights == "bundled":
        raise WeightsError(
            f"expected a run on the bundled body (sha256 {BUNDLED_SHA256[:12]}…), found one on the "
            f"body that an earlier version bundled ({sha256[:12]}…); train again, or use the "
            "version of this package that trained the run"
        )
    elif weights == "hub":
        body = _with_bar(_from_hub(architecture, "as trained; ", identity.get("revision")))
    elif weights.startswith("file:"):
        body = _from_own_cache(weights, sha256, architecture)
    else:
        body = _random(architecture, seed)
    if body.sha256 != sha256:
        raise WeightsError(
            f"expected the body {weights} with sha256 {sha256[:12]}…, found {body.sha256[:12]}…; "
            "use the version of this package that trained the run, or train again"
        )
    return body


def _with_bar(steps: BodySteps) -> Body:
    """Run the generator to its end; a download shows the progress bar of the Hub's client."""
    with ExitStack() as stack:
        bar = None
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                return end.value
            if bar is None:
                from huggingface_hub.utils import tqdm

                total = progress.total_bytes
                bar = stack.enter_context(tqdm(desc="body", total=total, unit="B", unit_scale=True))
            bar.update(progress.done_bytes - bar.n)


def build_body(architecture: str) -> nn.Sequential:
    """timm's `features` without memory for its tensors: (N, 3, S, S) → (N, 512, S/32, S/32).

    timm's `num_classes=0` would keep the 4096-wide `pre_logits`, which belong to the old head.
    """
    import timm

    with torch.device("meta"):
        return timm.create_model(architecture).features


def load_body(features: nn.Sequential, tensors: dict[str, torch.Tensor]) -> nn.Sequential:
    """Copy tensors `features.*`, as float32, into a body from `build_body`. Raises WeightsError."""
    state = {}
    for name, empty in features.state_dict().items():
        found = tensors.get(f"features.{name}")
        if found is None or found.shape != empty.shape:
            raise WeightsError(
                f"expected features.{name} with shape {tuple(empty.shape)}, found "
                f"{'none' if found is None else tuple(found.shape)}; choose a file of the same "
                "VGG, without batch norm, with timm's or torchvision's names"
            )
        state[name] = found.detach().to(torch.float32, copy=True)
    features.load_state_dict(state, assign=True)
    return features


def _auto(architecture: str) -> BodySteps:
    try:
        return (yield from _from_hub(architecture))
    except WeightsError as error:
        if architecture != "vgg16":
            raise
        return _bundled(architecture, f"timm's body is not available ({error})")


def _from_hub(architecture: str, reason: str = "", revision: str | None = None) -> BodySteps:
    repository = f"timm/{architecture}.tv_in1k"  # torchvision's weights, trained on ImageNet-1k
    if file := find_cached_body(repository, revision):
        reason += f"found in {file.where}"
    else:
        file = yield from download_body(repository, revision)
        reason += "downloaded"
    return _body("hub", reason, _read(file.path), architecture, revision=file.commit)


def _bundled(architecture: str, reason: str) -> Body:
    if architecture != "vgg16":
        raise WeightsError(f"expected vgg16 for the bundled body, found {architecture}; use random")
    reason = f"{reason}; the VGG group's own weights, trained on ImageNet"
    return _body("bundled", reason, _read(BUNDLED), architecture)


def _random(architecture: str, seed: int) -> Body:
    """He initialisation (He et al. 2015) by fan-out, zero biases, as in timm's VGG."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, empty in build_body(architecture).state_dict().items():
        tensor = torch.zeros(empty.shape)
        if tensor.ndim == 4:  # a kernel (out, in, 3, 3)
            fan_out = tensor.shape[0] * tensor.shape[2] * tensor.shape[3]
            tensor.normal_(0, (2 / fan_out) ** 0.5, generator=generator)
        tensors[f"features.{name}"] = tensor
    return _body("random", "as requested; it has learned nothing yet", tensors, architecture)


def _from_file(weights: str, architecture: str) -> Body:
    try:
        path = Path(weights).expanduser()
        found = path.is_file()
    except (OSError, RuntimeError, ValueError):  # too long for a name, or of an unknown user
        found = False
    if not found:
        raise WeightsError(
            "expected weights auto, hub, bundled, random or a file (.safetensors, .pth), found "
            f"{Path(weights).name[:80]!r}, which does not exist; check the name"
        )
    body = _body(f"file:{path.name}", "as requested", _read(path), architecture)
    _save(body)
    return body


def _cached_path(sha256: str) -> Path:
    return cache_folder() / "bodies" / f"{sha256}.safetensors"


def _save(body: Body) -> None:
    """Copy a body from a file into the cache: a run stores only the tensors that it changed, and
    must still load after the file is gone. Raises CacheError.
    """
    from safetensors.torch import save

    target = _cached_path(body.sha256)
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


def _from_own_cache(weights: str, sha256: str, architecture: str) -> Body:
    path = _cached_path(sha256)
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
    """sha256 over names, shapes and float32 bytes, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(memoryview(tensor.numpy()).cast("B"))
    return digest.hexdigest()


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name from safetensors or a state dict; code in the file is never run."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    advice = "download it again, or choose a .safetensors or .pth file of tensors"
    cut = WeightsError(f"the weights {path.name!r} are cut off or not a weights file; {advice}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError):
        raise cut from None
    except Exception:
        with path.open("rb") as file:  # torch's files, zipped or not, start like this
            if not file.read(4).startswith((b"PK\x03\x04", b"\x80")):
                raise cut from None
        raise WeightsError(
            f"{path.name!r} holds more than tensors and is not loaded; {advice}"
        ) from None
    values = tensors.values() if isinstance(tensors, dict) else [None]
    if not all(isinstance(value, torch.Tensor) for value in values):
        raise WeightsError(f"expected tensors by name in {path.name!r}, found none; {advice}")
    return tensors
