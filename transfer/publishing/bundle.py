"""A run or an exported folder → the files of a repository on the Hub, without its README.

`head` is a run folder of its own: head and moved body tensors, in half precision where scores stay
the same, for a body that whoever loads it finds again by hash. `full` is what timm and transformers
load.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import RunError, SettingsError
from transfer.publishing.redact import (
    bare,
    published_config,
    published_record,
    published_report,
)
from transfer.publishing.size_estimate import CONFIG, full_files, head_files
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
    import torch

    from transfer.model.vgg import Network

WHATS = ("head", "full")
SCORE_TOLERANCE = 2.5e-4  # on a few pictures, so that it is not above 1e-3 on any
HALF_ERROR = 2**-11  # of rounding to half precision, relative to the number


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """`folder` holds exactly `files`, name → bytes; `run` is as published, None where an exported
    folder does not tell of which run it is."""

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
    """Fill the new or empty `folder` with what is to be published: whole or not at all.

    `what` is `head` or `full`; a folder that `export` wrote is always `full`. File names of
    mistakes and of skipped images are kept only where the source is `public`. What was written is
    loaded back and compared with the run on pictures. Raises SettingsError, RunError, WeightsError.
    """
    found, what = _opened(run_or_dir, what)
    folder = Path(folder).expanduser()
    with _whole_or_absent(folder):
        if isinstance(found, Path):
            run, classes = None, _copy_exported(found, folder)
        else:
            write = _write_head if what == "head" else _write_full
            run, classes = write(found, folder, public), found.classes
        files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    return Bundle(folder=folder, what=what, files=files, run=run, classes=classes)


def bundle_bytes(run_or_dir: str | Path | Run, what: str) -> int:
    """The sum of `bundle_files`."""
    return sum(bundle_files(run_or_dir, what).values())


def bundle_files(run_or_dir: str | Path | Run, what: str) -> dict[str, int]:
    """Name → bytes of what `write_bundle` would write, to a few percent, without loading torch.

    Raises what `write_bundle` raises for what cannot be published.
    """
    found, what = _opened(run_or_dir, what)
    if isinstance(found, Path):
        return {name: _plain_file(found, name).stat().st_size for name in (CONFIG, TENSORS)}
    return head_files(found) if what == "head" else full_files(found)


def _opened(run_or_dir: str | Path | Run, what: str) -> tuple[Run | Path, str]:
    """(a finished run or the folder of an exported one, what of it is published)."""
    if what not in WHATS:
        raise SettingsError(f"what must be one of {', '.join(WHATS)}, found {what!r}")
    run = run_or_dir if isinstance(run_or_dir, Run) else _read(run_or_dir)
    if isinstance(run, Path):
        return run, "full"
    weights = str(run.record["body"].get("weights"))
    if what == "head" and weights.startswith("file:"):
        raise RunError(
            f"expected a body that others can find too, found the weights {bare(weights[5:])!r} of "
            "this machine; publish the whole network with --what full"
        )
    return run, what


def _read(run_or_dir: str | Path) -> Run | Path:
    name = bare(str(run_or_dir))[:80]
    try:
        path = Path(run_or_dir).expanduser()
        there = {name for name in (RECORD, CONFIG, CHECKPOINT) if (path / name).exists()}
        missing = not path.is_dir()
    except (OSError, RuntimeError, ValueError):  # too long for a name, or of an unknown user
        there, missing = set(), True
    if missing:
        raise RunError(
            f"expected a finished run or an exported folder, found none called {name!r}; "
            "check its name"
        )
    if not there:
        raise RunError(
            f"expected a finished run or an exported folder, found neither {RECORD} nor {CONFIG} "
            f"in {name!r}; train into it, or name another folder"
        )
    return path if there == {CONFIG} else read_run(path)


@contextmanager
def _whole_or_absent(folder: Path) -> Iterator[None]:
    """Refuses a folder with something in it; takes out again what an error left half done."""
    made = not folder.exists()
    if not made and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(
            f"expected a new or empty folder for what is published, found {folder.name!r} with "
            "something in it; choose another name or remove it"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        _clear(folder)
        if made and folder.is_dir():
            folder.rmdir()
        if isinstance(error, OSError):
            reason = error.strerror or "no reason given"
            raise RunError(
                f"the folder {folder.name!r} cannot be written ({reason}); choose another place"
            ) from None
        raise


def _clear(folder: Path) -> None:
    for name in (RECORD, TENSORS, REPORT, CONFIG):
        (folder / name).unlink(missing_ok=True)


def _write_head(run: Run, folder: Path, public: bool) -> Run:
    """The run as others see it, in half precision as far as that moves no score."""
    network, held = read_network(run), _whole(read_tensors(run.path / TENSORS))
    record, report = published_record(run), published_report(run, public=public)
    for tensors in (_halved(held), held):
        _clear(folder)
        with RunWriter(folder) as builder:
            builder.finish(record | {"stored": _smallest_kind(tensors)}, report, tensors)
        published = read_run(folder)
        apart = _apart(network, read_network(published), run)
        if apart <= SCORE_TOLERANCE:  # not a number is no agreement either
            return published
    raise RunError(
        f"expected what is published to score as the run does, found scores {apart:.2g} apart (at "
        f"most {SCORE_TOLERANCE:g}), so nothing was written; train again"
    )


def _whole(tensors: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    return {name: tensor.float() for name, tensor in tensors.items()}


def _halved(tensors: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """In float16 those matrices whose numbers it holds, large and small; the others as they are.

    Biases and statistics are few, and rounding a statistic would shift every image.
    """
    return {
        name: tensor.half() if tensor.ndim > 1 and _holds(tensor.half(), tensor) else tensor
        for name, tensor in tensors.items()
    }


def _holds(halved: "torch.Tensor", tensor: "torch.Tensor") -> bool:
    """Whether nothing became infinite, nor anything lost that counts beside the largest number."""
    return bool((halved.float() - tensor).abs().max() <= HALF_ERROR * tensor.abs().max())


def _smallest_kind(tensors: dict[str, "torch.Tensor"]) -> str:
    import torch

    return "float16" if torch.float16 in {t.dtype for t in tensors.values()} else "float32"


def _apart(one: "Network", other: "Network", run: Run) -> float:
    """How far apart two networks' scores, 0…1, can be on the pictures that they are compared on.

    A quarter of the spread of the logits' differences: that is how steep softmax is where it is
    least sure. Where it is sure of a picture, the scores themselves would hide any difference.
    """
    import numpy as np
    import torch

    from transfer.publishing.timm_export import check_pictures

    shown = np.stack([run.transform.resized(picture) for picture in check_pictures(run)])
    pixels = run.transform.normalise(torch.from_numpy(shown))
    with torch.inference_mode():
        moved = other(pixels) - one(pixels)
    return float((moved.amax(dim=1) - moved.amin(dim=1)).max() / 4)


def _write_full(run: Run, folder: Path, public: bool) -> Run:
    """All of the network as timm has it, and the report."""
    from transfer.publishing.timm_export import export

    export(run, folder)
    report = published_report(run, public=public)
    (folder / REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
    return Run(path=folder, record=published_record(run), report=report)


def _copy_exported(source: Path, folder: Path) -> tuple[str, ...]:
    """The two files of an exported folder, written anew; returns the class names."""
    from safetensors.torch import save_file

    from transfer.inference.timm_config import read_config
    from transfer.inference.timm_vgg import read_vgg

    config, tensors = (_plain_file(source, name) for name in (CONFIG, TENSORS))
    known = read_config(config)
    read_vgg(source, known)  # raises unless it is whole, fits and holds numbers alone
    published = published_config(json.loads(config.read_text(encoding="utf-8")))
    save_file(read_tensors(tensors), folder / TENSORS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(published, indent=2) + "\n", encoding="utf-8")
    return known.classes


def _plain_file(folder: Path, name: str) -> Path:
    """Not what a link leads to, for that may be anything."""
    path = folder / name
    if path.is_symlink() or not path.is_file():
        found = "a link" if path.is_symlink() else "none"
        raise RunError(
            f"expected the file {name} in the exported folder {folder.name!r}, found {found}; "
            "export the run anew"
        )
    return path
