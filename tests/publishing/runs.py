"""Finished runs whose networks never learned, and the scores that others give their images."""

from pathlib import Path

import numpy as np
import torch

import transfer
from tests.tiny import CLASSES, SIDE
from tests.tiny_timm import pictures, scores_of
from transfer.data.transform import Transform
from transfer.model.vgg import build_network
from transfer.model.weights import find_body
from transfer.runs.run import changed_tensors
from transfer.runs.writer import RunWriter
from transfer.settings import HeadSettings, TrainingSettings


def finished(
    out: Path,
    *,
    side: int = SIDE,
    pooling: str = "avg",
    hidden: tuple[int, ...] = (12,),
    architecture: str = "vgg11",
    weights: str = "random",
    classes: tuple[str, ...] = CLASSES,
) -> transfer.Run:
    """A run as a training leaves it. Its scores are far from even, and its block5 has changed."""
    head = HeadSettings(pooling=pooling, hidden=hidden, dropout=0.5)
    settings = TrainingSettings(
        architecture=architecture, weights=weights, image_size=side, head=head
    )
    transform = Transform(image_size=side)
    body = find_body(weights, architecture, 0)
    network = build_network(architecture, body.tensors, settings.head, side, len(classes), seed=1)
    _spread_scores(network, transform)
    record = {
        "classes": list(classes),
        "settings": settings.to_json(),
        "transform": transform.to_json(),
        "body": body.identity(),
        "source": "nobody/nothing",
    }
    with RunWriter(out) as writer:
        return writer.finish(record, {"accuracy": 0.5}, changed_tensors(network, body.tensors))


@torch.no_grad()
def _spread_scores(network, transform: Transform) -> None:
    last = [layer for layer in network.features if isinstance(layer, torch.nn.Conv2d)][-1]
    last.weight.mul_(1.1)
    seen = np.stack([transform.pixels(shown) for shown in pictures()])
    features = network.features(transform.normalise(torch.from_numpy(seen)))
    network.head.standardise([network.head.pool(features)])
    for parameter in network.head.parameters():
        parameter.mul_(3)


def scores_of_run(run) -> np.ndarray:
    return scores_of(transfer.load(run))


def scores_of_transformers(transformers, name: str, classes, folder: Path) -> np.ndarray:
    """From files, as an upload comes."""
    classify = transformers.pipeline("image-classification", model=name, device="cpu")
    rows = []
    for i, shown in enumerate(pictures()):
        shown.save(folder / f"shown-{i}.png")
        answer = classify(str(folder / f"shown-{i}.png"), top_k=len(classes))
        found = {row["label"]: row["score"] for row in answer}
        assert set(found) == set(classes)
        rows.append([found[label] for label in classes])
    return np.array(rows)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
