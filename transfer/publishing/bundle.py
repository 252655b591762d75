"""A run or an exported folder → the files of a repository on the Hub, except its card.

`head` is a run folder: the head and the body tensors that changed, in half precision if the scores
stay the same; whoever loads it finds the rest of the body by its hash. `full` is what timm and
transformers load.
"""

import json
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import RunError, SettingsError
from transfer.publishing.new_folder import new_folder
from transfer.publishing.redact import (
    bare,
    published_config,
    published_record,
    published_report,
)
from transfer.publishing.sizes import full_files, head_files
from transfer.runs.run import (
    CHECKPOINT,
    RECORD,
    REPORT,
    TENSORS,
    Run,
    read_network,
    read_run,
    read_tensors,
)
from transfer.runs.writer import RunWriter

if TYPE_CHECKING:
    from transfer.model.vgg import Network

WHATS = ("head", "full")
CONFIG = "config.json"
SCORE_TOLERANCE = 2.5e-4  # on a few images, so that no image differs by more than 1e-3


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """`folder` holds exactly `files`, name → bytes. `run` is the run as published; None for an
    exported folder, which does not know its run."""

    folder: Path
    what: str
    files: dict[str, int]
    run: Run | None
    classes: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return sum(self.files.values())


def write_bundle(
    run_or_dir: str | Path | Run, what: str, folder: str | Path, *, public: bool = False
) -> Bundle:
    """Fill the new or empty `folder` with what is to be published: completely or not at all.

    `what` is `head` or `full`; a folder that `export` wrote is always `full`. Names of images are
    kept only if the source is `public`. The written network is loaded and compared with the run.
    Raises SettingsError, RunError or WeightsError.
    """
    source, what = _check(run_or_dir, what)
    folder, run = Path(folder).expanduser(), None
    with new_folder(folder) as part:
        if isinstance(source, Path):
            classes = _copy_exported(source, part)
        else:
            write = _write_head if what == "head" else _write_full
            run, classes = replace(write(source, part, public), path=folder), source.classes
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return Bundle(folder=folder, what=what, files=files, run=run, classes=classes)


def bundle_files(run_or_dir: str | Path | Run, what: str) -> dict[str, int]:
    """Name → bytes of what `write_bundle` will write, to a few percent, without loading torch.

    Raises what `write_bundle` raises for what cannot be published.
    """
    source, what = _check(run_or_dir, what)
    if isinstance(source, Path):
        return {name: _plain_file(source, name).stat().st_size for name in (CONFIG, TENSORS)}
    return head_files(source) if what == "head" else full_files(source)


def _check(run_or_dir: str | Path | Run, what: str) -> tuple[Run | Path, str]:
    """(a run or the folder of an exported one, what of it is published)."""
    if what not in WHATS:
        raise SettingsError(f"what must be one of {', '.join(WHATS)}, found {what!r}")
    source = read_run_or_export(run_or_dir)
    if isinstance(source, Path):
        return source, "full"
    weights = str(source.record["body"].get("weights"))
    if what == "head" and weights.startswith("file:"):
        raise RunError(
            f"expected a body that others can find too, found the weights {bare(weights[5:])!r} of "
            "this machine; publish the full network"
        )
    return source, what


def read_run_or_export(run_or_dir: str | Path | Run) -> Run | Path:
    """The finished run; or the folder itself if `export` wrote it. Raises RunError."""
    if isinstance(run_or_dir, Run):
        return run_or_dir
    name = bare(str(run_or_dir))[:80]
    try:
        path = Path(run_or_dir).expanduser()
        found = {name for name in (RECORD, CONFIG, CHECKPOINT) if (path / name).exists()}
        missing = not path.is_dir()
    except (OSError, RuntimeError, ValueError):  # too long a name, or an unknown user's home
        found, missing = set(), True
    if missing:
        raise RunError(
            f"expected a finished run or an exported folder, found none called {name!r}; "
            "check its name"
        )
    if not found:
        raise RunError(
            f"expected a finished run or an exported folder, found neither {RECORD} nor {CONFIG} "
            f"in {name!r}; train into it, or name another folder"
        )
    return path if found == {CONFIG} else read_run(path)


def _write_head(run: Run, folder: Path, public: bool) -> Run:
    """The run as others see it, in half precision if that changes no score."""
    network, tensors = read_network(run), read_tensors(run.path / TENSORS)[0]
    tensors, stored = {name: tensor.float() for name, tensor in tensors.items()}, "float32"
    # Biases and statistics take few bytes, and a rounded statistic would shift every image.
    halved = {name: t.half() if t.ndim > 1 else t for name, t in tensors.items()}
    rounded = deepcopy(network)
    rounded.load_state_dict(network.state_dict() | halved)  # float16 values in float32 tensors
    if _score_difference(network, rounded, run) <= SCORE_TOLERANCE:  # not if one overflows to NaN
        tensors, stored = halved, "float16"
    with RunWriter(folder) as writer:
        report = published_report(run, public=public)
        writer.finish(published_record(run) | {"stored": stored}, report, tensors)
    published = read_run(folder)
    difference = _score_difference(network, read_network(published), run)
    if not difference <= SCORE_TOLERANCE:  # NaN is refused as well
        raise RunError(
            f"expected the published head to score as the run does, found scores {difference:.2g} "
            f"apart (at most {SCORE_TOLERANCE:g}), so nothing was written; train again"
        )
    return published


def _score_difference(one: "Network", other: "Network", run: Run) -> float:
    """An upper bound of how far two networks' scores, 0…1, differ on the images of the check.

    Softmax changes by at most a quarter of the spread of the logits' differences. The scores
    themselves would hide a difference if both networks are sure of their answer.
    """
    import numpy as np
    import torch

    from transfer.publishing.check_images import check_images

    images = np.stack([run.transform.resized(image) for image in check_images(run)])
    inputs = run.transform.normalise(torch.from_numpy(images))  # float32 (N, 3, H, W)
    with torch.inference_mode():
        moved = other(inputs) - one(inputs)  # (N, classes)
    return float((moved.amax(dim=1) - moved.amin(dim=1)).max() / 4)


def _write_full(run: Run, folder: Path, public: bool) -> Run:
    """The complete network as timm has it, and the report."""
    from transfer.publishing.timm_export import write_timm

    write_timm(run, folder)
    report = published_report(run, public=public)
    (folder / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
    return Run(path=folder, record=published_record(run), report=report)


def _copy_exported(source: Path, folder: Path) -> tuple[str, ...]:
    """The two files of an exported folder, without what else was written into them."""
    from safetensors.torch import save_file

    from transfer.inference.timm_config import read_config
    from transfer.inference.timm_vgg import read_vgg

    config, tensors = (_plain_file(source, name) for name in (CONFIG, TENSORS))
    known = read_config(config)
    read_vgg(source, known)  # raises if it is incomplete, does not fit or holds NaN
    published = published_config(json.loads(config.read_text(encoding="utf-8")))
    save_file(read_tensors(tensors)[0], folder / TENSORS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(published, indent=2) + "\n", encoding="utf-8")
    return known.classes


def _plain_file(folder: Path, name: str) -> Path:
    """A link is refused, for it may lead to anything."""
    path = folder / name
    if path.is_symlink() or not path.is_file():
        found = "a link" if path.is_symlink() else "none"
        raise RunError(
            f"expected the file {name} in the exported folder {folder.name!r}, found {found}; "
            "export the run again"
        )
    return path
