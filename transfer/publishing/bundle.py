"""A run or an exported folder → the files of a repository on the Hub, except its card.

`head` is a run folder: the head and the body tensors that changed, in half precision if the scores
stay the same; the loader finds the rest of the body by its hash. `full` is what timm and
transformers load. `page` classifies in the browser, for a static Space.
"""

import json
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import RunError, SettingsError
from transfer.inference.timm_config import CONFIG, read_config
from transfer.publishing.new_folder import new_folder
from transfer.publishing.redact import bare, published_config, published_record, published_report
from transfer.publishing.sizes import full_files, head_config, head_files, page_files
from transfer.runs.familiarity import read_familiarity
from transfer.runs.run import (
    CHECKPOINT,
    RECORD,
    REPORT,
    TENSORS,
    Run,
    read_network,
    read_run,
    read_tensors,
    run_path,
)
from transfer.runs.writer import run_files

if TYPE_CHECKING:
    from transfer.model.vgg import Network

WHATS = ("head", "full", "page")  # of a run
DATASET = "dataset"  # of one's own photos
SCORE_TOLERANCE = 2.5e-4  # on a few images, so that no image differs by more than 1e-3


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """`folder` holds exactly `files`, name → bytes. `run` is the run as published; None for an
    exported folder, which does not know its run, and for photos."""

    folder: Path
    what: str
    files: dict[str, int]
    run: Run | None
    classes: tuple[str, ...]


def write_bundle(
    run_or_dir: str | Path | Run,
    what: str,
    folder: str | Path,
    *,
    public: bool = False,
    name: str | None = None,
) -> Bundle:
    """Fill the new or empty `folder` with what is to be published: completely or not at all.

    `what` is one of WHATS; a folder that `export` wrote is always `full`. Names of images stay
    only if the source is `public`; `name` is the title of a page. The written network is loaded and
    compared with the run. Raises SettingsError, RunError, WeightsError or TransferError.
    """
    source = read_publishable(run_or_dir, what)
    folder, run = run_path(folder), None
    with new_folder(folder) as part:
        if isinstance(source, Path):
            what, classes = "full", _copy_exported(source, part)
        else:
            if what == "page":
                written = _write_page(source, part, name)
            else:
                written = (_write_head if what == "head" else _write_full)(source, part, public)
            run, classes = replace(written, path=folder), source.classes
    files = {name: path.stat().st_size for name, path in files_in(folder).items()}
    return Bundle(folder=folder, what=what, files=files, run=run, classes=classes)


def files_in(folder: Path) -> dict[str, Path]:
    """Name in the repository → file."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in paths}


def bundle_files(run: Run, what: str) -> dict[str, int]:
    """Name → bytes of what `write_bundle` will write or refuse, to a few percent, without torch."""
    run = read_publishable(run, what)
    return {"head": head_files, "full": full_files, "page": page_files}[what](run)


def read_publishable(run_or_dir: str | Path | Run, what: str) -> Run | Path:
    """`read_run_or_export`, if `what` of it can be published. Raises SettingsError or RunError."""
    if what not in WHATS:
        raise SettingsError(f"what must be one of {', '.join((*WHATS, DATASET))}, found {what!r}")
    source = read_run_or_export(run_or_dir)
    weights = str(source.record["body"].get("weights")) if isinstance(source, Run) else ""
    if what == "head" and weights.startswith("file:"):
        raise RunError(
            f"expected a body that others can find too, found the weights {bare(weights[5:])!r} of "
            "this machine; publish the full network"
        )
    return source


def read_run_or_export(run_or_dir: str | Path | Run) -> Run | Path:
    """The finished run; or the folder itself if `export` wrote it. Raises RunError."""
    if isinstance(run_or_dir, Run):
        return run_or_dir
    try:
        path = Path(run_or_dir).expanduser()
        found = {name for name in (RECORD, CONFIG, CHECKPOINT) if (path / name).exists()}
    except (OSError, RuntimeError, ValueError):  # too long a name, or an unknown user's home
        found = set()
    if not found:
        raise RunError(
            f"expected a finished run or an exported folder, found neither {RECORD} nor {CONFIG} "
            f"in {bare(str(run_or_dir))[:80]!r}; check its name"
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
    record, report = published_record(run), published_report(run, public=public)
    familiarity = read_familiarity(run.path)
    known = {"familiarity": replace(familiarity, names=()).pack()} if familiarity else {}
    for name, data in run_files(record | {"stored": stored}, report, tensors, **known).items():
        (folder / name).write_bytes(data)
    (folder / CONFIG).write_text(json.dumps(head_config(run), indent=1), encoding="utf-8")
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


def _write_page(run: Run, folder: Path, name: str | None) -> Run:
    from transfer.publishing.onnx.page import write_page

    write_page(run, folder, "fp16", runtime=None, name=name)
    report = published_report(run, public=False)
    return Run(path=folder, record=published_record(run), report=report)


def _copy_exported(source: Path, folder: Path) -> tuple[str, ...]:
    """The two files of an exported folder, without what else was written into them."""
    from safetensors.torch import save

    from transfer.inference.timm_vgg import read_vgg

    for path in (source / CONFIG, source / TENSORS):
        if path.is_symlink() or not path.is_file():  # a link may lead to anything
            raise RunError(
                f"expected the file {path.name} in the exported folder {source.name!r}, found "
                "none or a link; export the run again"
            )
    known = read_config(source / CONFIG)
    read_vgg(source, known)  # raises if it is incomplete, does not fit or holds NaN
    published = published_config(json.loads((source / CONFIG).read_text(encoding="utf-8")))
    tensors, _ = read_tensors(source / TENSORS)
    # not save_file, whose error on a full disk is no OSError
    (folder / TENSORS).write_bytes(save(tensors, metadata={"format": "pt"}))
    (folder / CONFIG).write_text(json.dumps(published, indent=2) + "\n", encoding="utf-8")
    return known.classes
