"""A run folder, an exported folder, a Hub id or a link → Classifier.

A repository is either a run (run.json, report.json and the tensors that it changed) or a whole VGG
as timm has them (config.json and all tensors). Nothing in it is ever run.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from transfer.device import own_device
from transfer.errors import RunError, WeightsError
from transfer.inference.classifier import Classifier
from transfer.inference.hub_files import ModelFiles, Token, find_model, parse_address
from transfer.inference.timm_config import CONFIG, TimmConfig, printable, read_config
from transfer.inference.timm_vgg import check_tensors, read_vgg
from transfer.runs.run import RECORD, REPORT, TENSORS, Run, read_network, read_run

FROM_THE_HUB = ("hub:", "hf-hub:")


def open_classifier(name: str | Path | Run, token: Token = None) -> Classifier:
    """A classifier from a run folder, a folder that `export` wrote, or the Hub.

    From there by `user/name`, `user/name@revision` or a link. A folder of that name wins, unless
    `hub:` or `hf-hub:` stands before it: what strangers name must begin so. `token` is that of a
    visitor (False: nobody signed in); left out, that of whoever runs this. Raises RunError,
    WeightsError or CacheError.
    """
    if isinstance(name, Run):
        return _of_run(name)
    text = str(name).strip()
    from_hub = text.startswith(FROM_THE_HUB)
    if not from_hub and (folder := _folder(text)):
        return _of_folder(folder)
    bare = re.sub(r"^(?:hf-hub:|hub:)+", "", text)
    address = parse_address(bare)
    if address is None:
        raise RunError(
            "expected a run folder, an exported folder, or a Hub id or link like user/name, "
            f"found none called {Path(bare).name[:80]!r}; check its name"
        )
    try:
        found = find_model(address, token)
    except RunError as error:
        if from_hub or "://" in text:
            raise
        raise RunError(f"no folder is called {bare[:200]!r} here, and {error}") from None
    with found.in_use():
        return _of_repository(found)


load = open_classifier


def _folder(name: str) -> Path | None:
    """What stands there, or None; an empty name does not mean the folder that one is in."""
    try:
        path = Path(name).expanduser()
        return path if name and path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long for a name, or of an unknown user
        return None


def _of_folder(folder: Path) -> Classifier:
    if (folder / CONFIG).is_file() and not (folder / RECORD).exists():
        return _of_timm(folder, read_config(folder / CONFIG))
    return _of_run(read_run(folder))


def _of_repository(found: ModelFiles) -> Classifier:
    """Small files first, so that nothing large is downloaded in vain."""
    is_run = RECORD in found.files
    with _blaming(found):
        _check_kind(found)
    folder = found.fetch(*((RECORD, REPORT) if is_run else (CONFIG,)))
    with _blaming(found):
        known = _strangers(read_run(folder)) if is_run else read_config(folder / CONFIG)
        check_tensors(found.files)
    found.fetch(TENSORS)
    with _blaming(found):
        return _of_run(known) if is_run else _of_timm(folder, known)


@contextmanager
def _blaming(found: ModelFiles) -> Iterator[None]:
    """Says of which model it is that something does not fit."""
    try:
        yield
    except (RunError, WeightsError) as error:
        name = str(found.address)
        raise type(error)(f"the model {name!r} cannot be used: {error}") from None


def _check_kind(found: ModelFiles) -> None:
    if RECORD in found.files and REPORT not in found.files:
        raise RunError(f"expected {REPORT} beside {RECORD}, found none; publish the run again")
    if RECORD not in found.files and CONFIG not in found.files:
        check_tensors(found.files)
        raise RunError(
            f"expected {RECORD} of a run, or {CONFIG} of an image classifier of timm, found "
            "neither; choose another model"
        )


def _strangers(run: Run) -> Run:
    """The same run with class names that may be printed."""
    return replace(run, record=run.record | {"classes": list(printable(run.classes))})


def _of_run(run: Run) -> Classifier:
    network = _placed(read_network(run))
    return Classifier(network=network, transform=run.transform, classes=run.classes, run=run)


def _of_timm(folder: Path, config: TimmConfig) -> Classifier:
    network = _placed(read_vgg(folder, config))
    return Classifier(network=network, transform=config.transform, classes=config.classes)


def _placed(network: torch.nn.Module) -> torch.nn.Module:
    return network.to(own_device())
