"""A run → model.onnx, which takes a photo as it is, with model.json and a README.md beside it."""

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from transfer.data.dataset import ImageDataset
from transfer.errors import RunError
from transfer.events import CacheProgress
from transfer.inference.classifier import softmax
from transfer.inference.onnx_format import FACTS, FORMAT_VERSION, INPUT, MODEL, OUTPUTS
from transfer.inference.onnx_model import OnnxClassifier, read_onnx
from transfer.publishing.card.escape import as_line
from transfer.publishing.card.license import choose_license
from transfer.publishing.check_images import generated_images, own_images, some_images
from transfer.publishing.onnx.network import PortableNetwork
from transfer.publishing.onnx.precision import to_fp16, to_int8
from transfer.publishing.onnx.readme import readme
from transfer.runs.familiarity import FALSE_ALARMS, read_familiarity
from transfer.runs.holdout import open_again
from transfer.runs.run import Run, read_network

if TYPE_CHECKING:
    from onnx import ModelProto

    from transfer.model.vgg import Network

OPSET = 18
PHOTOS = 100  # test photos to compare on
LARGEST_DIFFERENCE = {"fp32": 1e-4, "fp16": 5e-3}  # of a score
MOST_CHANGED, MOST_LOST = 0.02, 0.01  # of int8: answers, and points of accuracy, as shares
NO_LABEL = -1
README = "README.md"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How an exported model compares with its run, on some generated images and `photos` test
    photos, of which the run answers `right_before` correctly and the model `right`."""

    images: int
    photos: int
    difference: float  # the largest of a score
    changed: int  # answers
    right: int
    right_before: int
    seconds: float  # of the model for one image, median


def write_onnx(
    run: Run, folder: Path, precision: str, report: Callable[[CacheProgress], None]
) -> None:
    """Write the three files, see `write_model`."""
    write_texts(run, folder, write_model(run, folder, precision, report))


def write_model(
    run: Run, folder: Path, precision: str, report: Callable[[CacheProgress], None]
) -> dict:
    """Write model.onnx and return what model.json will say.

    The model is compared with the run on test photos where these are on this machine. `int8` needs
    the run's photos, to choose its ranges by. Raises RunError or SourceError.
    """
    import onnx

    if run.transform.interpolation != "bilinear":
        raise RunError(
            "expected a run whose images are resized by the bilinear filter, found "
            f"{run.transform.interpolation!r}; train again"
        )
    images = own_images(run)
    if images is None and precision == "int8":
        images, _, _ = open_again(run, str(run.record.get("source")), {})
    network = read_network(run)
    model = _graph(network, run)
    if precision == "fp16":
        to_fp16(model)
    onnx.save(model, folder / MODEL)
    del model
    if precision == "int8":
        to_int8(folder / MODEL, run, images)
    facts = _facts(run, precision)
    _write_facts(folder, facts)
    agreement = _compare(read_onnx(folder), run, network, _check_images(run, images), report)
    _check(agreement, precision)
    return facts | {"compared": asdict(agreement)}


def _graph(network: "Network", run: Run) -> "ModelProto":
    """By torch's exporter, with any number of photos of any size."""
    portable = PortableNetwork(network, run.transform, read_familiarity(run.path)).eval()
    photos = torch.zeros(2, 50, 60, 3, dtype=torch.uint8)  # of which nothing but the 3 is fixed
    outputs = OUTPUTS if portable.compare else OUTPUTS[:1]
    any_size = torch.export.Dim.DYNAMIC
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            portable,
            (photos,),
            dynamo=True,
            dynamic_shapes={INPUT: {0: any_size, 1: any_size, 2: any_size}},
            input_names=[INPUT],
            output_names=list(outputs),
            opset_version=OPSET,
            verbose=False,
        )
    return program.model_proto


def _facts(run: Run, precision: str) -> dict:
    report = run.report
    return {
        "format_version": FORMAT_VERSION,
        "name": as_line(run.path.name),
        "classes": list(run.classes),
        "transform": run.transform.to_json(),
        "least_score": run.least_score,
        "least_familiarity": FALSE_ALARMS if read_familiarity(run.path) else None,
        "precision": precision,
        "accuracy": run.accuracy,
        "interval": report.get("interval"),
        "test_images": report.get("images"),
        "opset": OPSET,
        "versions": {name: version(name) for name in ("torch", "onnx", "onnxruntime")},
    }


def _write_facts(folder: Path, facts: dict) -> None:
    (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def write_texts(run: Run, folder: Path, facts: dict) -> None:
    """model.json and README.md"""
    _write_facts(folder, facts)
    text = readme(run, folder, choose_license(run, None).text)
    (folder / README).write_text(text + "\n", encoding="utf-8")


def _compare(
    model: OnnxClassifier,
    run: Run,
    network: "Network",
    images: list[tuple[Image.Image, int]],
    report: Callable[[CacheProgress], None],
) -> Agreement:
    wanted, found, labels, seconds = [], [], [], []
    begun = time.monotonic()
    for image, label in images:
        pixels = torch.from_numpy(run.transform.resized(image))  # uint8 (3, S, S)
        with torch.inference_mode():
            logits = network(run.transform.normalise(pixels[None]))
        wanted.append(softmax(logits)[0])
        started = time.monotonic()
        found.append(model.scores(image))
        seconds.append(time.monotonic() - started)
        labels.append(label)
        done = {"done": len(labels), "total": len(images), "seconds": time.monotonic() - begun}
        report(CacheProgress(stage="comparing with the run", **done))
    wanted, found, labels = map(np.array, (wanted, found, labels))  # (N, classes) twice, (N,)
    answers, before = found.argmax(axis=1), wanted.argmax(axis=1)
    return Agreement(
        images=len(labels),
        photos=int((labels >= 0).sum()),
        difference=float(np.abs(found - wanted).max()),
        changed=int((answers != before).sum()),
        right=int((answers == labels).sum()),
        right_before=int((before == labels).sum()),
        seconds=round(float(np.median(seconds)), 4),
    )


def _check(found: Agreement, precision: str) -> None:
    """Raises RunError if the model does not answer as its run does; NaN is refused as well."""
    if precision == "int8":
        most_changed, most_lost = MOST_CHANGED * found.images, MOST_LOST * found.photos
        lost = found.right_before - found.right
        if found.changed > most_changed or lost > most_lost or np.isnan(found.difference):
            raise RunError(
                f"expected at least {1 - MOST_CHANGED:.0%} of the answers to stay as they are in "
                f"int8, found {found.changed} of {found.images} changed and {max(lost, 0)} more of "
                f"{found.photos} photos wrong, so nothing was written; use --precision fp16"
            )
    elif not found.difference <= LARGEST_DIFFERENCE[precision]:
        raise RunError(
            f"expected the {precision} model to score as the run does, found scores "
            f"{found.difference:.2g} apart (at most {LARGEST_DIFFERENCE[precision]:g}), so nothing "
            "was written; " + ("use --precision fp32" if precision == "fp16" else "train again")
        )


def _check_images(run: Run, images: ImageDataset | None) -> list[tuple[Image.Image, int]]:
    """(RGB image, its label or NO_LABEL)"""
    generated = [(image, NO_LABEL) for image in generated_images(run.transform.image_size)]
    return generated + list(some_images(run, images, "test", PHOTOS) if images else ())
