"""A run folder, an exported folder, a Hub id or a link → Classifier.

A repository holds either a run (run.json, report.json and the tensors that training changed) or a
complete VGG as timm saves it (config.json and all tensors). Nothing in it is ever executed.
"""

import re
from dataclasses import replace
from pathlib import Path

from transfer.errors import RunError, WeightsError
from transfer.inference.classifier import Classifier
from transfer.inference.hub_files import ModelFiles, Token, find_model, parse_address
from transfer.inference.onnx_format import FACTS
from transfer.inference.onnx_model import read_onnx
from transfer.inference.timm_config import CONFIG, TimmConfig, distinct_labels, read_config
from transfer.inference.timm_vgg import check_tensors, read_vgg
from transfer.machine.device import own_device
from transfer.runs.familiarity import read_familiarity
from transfer.runs.run import FAMILIARITY, RECORD, REPORT, TENSORS, Run, read_network, read_run

HUB_PREFIXES = ("hub:", "hf-hub:")


def open_classifier(name: str | Path | Run, token: Token = None) -> Classifier:
    """A classifier from a run, a folder of one, a folder that `export` wrote, or the Hub.

    The Hub is meant by `user/name`, `user/name@revision` or a link. A folder of that name wins
    unless `hub:` or `hf-hub:` stands before it; names that strangers give must begin so. `token` is
    that of `find_model`. Raises RunError, WeightsError or CacheError.
    """
    if isinstance(name, Run):
        return _from_run(name)
    text = str(name).strip()
    if not text.startswith(HUB_PREFIXES) and (folder := _existing(text)):
        return _from_folder(folder)
    bare = re.sub(r"^(?:hf-hub:|hub:)+", "", text)
    address = parse_address(bare)
    if address is None:
        raise RunError(
            "expected a run folder, an exported folder, or a Hub id or link like user/name, "
            f"found none called {Path(bare).name[:80]!r}; check its name"
        )
    try:
        model = find_model(address, token)
    except RunError as error:
        if text.startswith(HUB_PREFIXES) or "://" in text:
            raise
        raise RunError(f"no folder is called {bare[:200]!r} here, and {error}") from None
    return _from_hub(model)


load = open_classifier


def _existing(name: str) -> Path | None:
    """The folder or file of that name; an empty name does not mean the current folder."""
    try:
        path = Path(name).expanduser()
        return path if name and path.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long for a name, or of an unknown user
        return None


def _from_folder(folder: Path) -> Classifier:
    if (folder / CONFIG).is_file() and not (folder / RECORD).exists():
        return _from_timm(folder, read_config(folder / CONFIG))
    if (folder / FACTS).is_file() and not (folder / RECORD).exists():
        return read_onnx(folder)
    return _from_run(read_run(folder))


def _from_hub(model: ModelFiles) -> Classifier:
    try:
        with model.in_use():
            return _download(model)
    except (RunError, WeightsError) as error:
        name = repr(str(model.address))
        if name in str(error):
            raise
        raise type(error)(f"the model {name} cannot be used: {error}") from None


def _download(model: ModelFiles) -> Classifier:
    """Small files first: nothing large is downloaded before they fit."""
    if RECORD in model.files:
        if REPORT not in model.files:
            raise RunError(f"expected {REPORT} beside {RECORD}, found none; publish the run again")
        counted = (CONFIG,) if CONFIG in model.files else ()  # the Hub counts downloads by it
        run = read_run(model.fetch(RECORD, REPORT, *counted))
        check_tensors(model.files)
        model.fetch(TENSORS, *(name for name in (FAMILIARITY,) if name in model.files))
        printable = {"classes": list(distinct_labels(run.classes))}
        return _from_run(replace(run, record=run.record | printable))
    check_tensors(model.files)
    if CONFIG not in model.files:
        raise RunError(f"expected {RECORD} or {CONFIG}, found neither; choose another model")
    config = read_config(model.fetch(CONFIG) / CONFIG)
    return _from_timm(model.fetch(TENSORS), config)


def _from_run(run: Run) -> Classifier:
    return Classifier(
        network=read_network(run).to(own_device()),
        transform=run.transform,
        classes=run.classes,
        run=run,
        familiarity=read_familiarity(run.path),
        least_score=run.least_score,
    )


def _from_timm(folder: Path, config: TimmConfig) -> Classifier:
    network = read_vgg(folder, config).to(own_device())
    return Classifier(network=network, transform=config.transform, classes=config.classes)
