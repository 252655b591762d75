"""Tiny real models and generated images, shared by many tests."""

import functools
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from transfer.features.cached_dataset import CachedDataset
from transfer.features.validation import Validation
from transfer.model.vgg import Network, build_network
from transfer.model.weights import Body, find_body
from transfer.settings import HeadSettings

ARCHITECTURE, SIDE = "vgg11", 32
CLASSES = ("across", "down", "spots")
TINY = {
    "architecture": ARCHITECTURE,
    "weights": "random",
    "image_size": SIDE,
    "views": 2,
    "head_epochs": 2,
    "finetune_epochs": 1,
    "finetune_lr": 1e-5,
}


def draw_classes(folder: Path, each: int = 8, classes: tuple[str, ...] = CLASSES) -> Path:
    """Class folders of noisy stripes and spots that even a random body tells apart."""
    for kind, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            picture(kind, number).save(folder / name / f"{number}.png")
    return folder


def draw_mislabelled(folder: Path) -> Path:
    """Twelve pictures a class, of which one in each class has another's label: `wrong.png`."""
    draw_classes(folder, each=12)
    for label, other in zip(CLASSES, [*CLASSES[1:], CLASSES[0]], strict=True):
        (folder / label / "3.png").rename(folder / other / "wrong.png")
    return folder


def picture(kind: int, number: int) -> Image.Image:
    noise = np.random.default_rng([kind, number])
    pixels = noise.integers(0, 60, (40, 36, 3), dtype=np.uint8)
    start = number % 4
    bright = (np.s_[start::8], np.s_[:, start::8], np.s_[start::8, start::8])[kind]
    pixels[bright] += 150
    return Image.fromarray(pixels)


@functools.cache
def tiny_body(seed: int = 0) -> Body:
    return find_body("random", ARCHITECTURE, seed)


def tiny_network(classes: int = 3, seed: int = 0, side: int = SIDE, **head) -> Network:
    shape = {"pooling": "avg", "hidden": (8,), "dropout": 0.5} | head
    return build_network(
        architecture=ARCHITECTURE,
        body=tiny_body().tensors,
        head=HeadSettings(**shape),
        image_size=side,
        classes=classes,
        seed=seed,
    )


def held(inputs: torch.Tensor, labels, **change) -> CachedDataset:
    """A split in memory: `inputs` (V, N, …), all rows readable."""
    labels = torch.as_tensor(labels)
    known = {"rows": torch.arange(len(labels)), "names": tuple(map(str, range(len(labels))))}
    return CachedDataset(**{"inputs": inputs, "labels": labels} | known | change)


def validation(losses: torch.Tensor, hits: torch.Tensor) -> Validation:
    """One that found these losses at temperature 1."""
    return Validation(losses=losses, hits=hits, true_scores=(-losses).exp(), temperature=1.0)


def drained(generator) -> tuple[list, object]:
    """(what it yields, what it returns)."""
    events = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            return events, end.value
