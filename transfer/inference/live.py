"""Classes while they are taught: a linear classifier on the frozen body, fitted for each photo.

The features of a photo are computed once, as it arrives; the fit on them takes milliseconds.
"""

import threading
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from transfer.data.transform import Transform
from transfer.errors import SourceError
from transfer.features.linear_probe import fit_at_once
from transfer.inference.classifier import Classifier
from transfer.machine.device import in_parts, own_device
from transfer.model.vgg import Network, averaged, build_head
from transfer.model.weights import build_body, find_body, load_body
from transfer.settings import HeadSettings

ARCHITECTURE, WEIGHTS = "vgg16", "bundled"  # at once and without the Hub
TRANSFORM = Transform(image_size=112)  # a photo takes a fifth of the time that it takes at 224 px
STRENGTH = 0.1  # C: near the best from 1 to 40 photos a class, on flowers as on ants and bees
PHOTOS_A_BATCH = 8
LINEAR = HeadSettings(pooling="avg", hidden=(), dropout=0.0)

Photos = dict[str, list[Path]]  # by class
Key = tuple[int, int]  # a file by its number and time, which stay when its class gets another name


class LiveClassifier:
    """One person's classes. Threads may share it."""

    def __init__(self):
        self._features: dict[Key, torch.Tensor] = {}  # float32 (512,) of each photo
        self._fitted: tuple[list, Classifier] | None = None
        self._lock = threading.RLock()

    def read(self, photos: Photos) -> Iterator[tuple[int, int]]:
        """Compute what is missing of the photos; yields (done, all of them) after each batch.

        Callers at the same time share the work. Raises ImageError.
        """
        files = {_key(path): path for of_class in photos.values() for path in of_class}
        while True:
            with self._lock:
                missing = [key for key in files if key not in self._features]
                if not missing:
                    return
                keys = missing[:PHOTOS_A_BATCH]
                features = _features_of([files[key] for key in keys])
                self._features |= dict(zip(keys, features, strict=True))
            yield len(files) - len(missing) + len(keys), len(files)

    def classifier(self, photos: Photos, without: Collection[Path] = ()) -> Classifier:
        """Fitted on all photos but some, which it then judges as it would new ones.

        If these are all of a class, they are not left out. Raises SourceError where fewer than two
        classes have photos, and ImageError.
        """
        photos = {name: of_class for name, of_class in photos.items() if of_class}
        if len(photos) < 2:
            raise SourceError("expected photos in two classes, found fewer; add some to another")
        learned = {name: _others(of_class, without) for name, of_class in photos.items()}
        rows = [(name, _key(path)) for name, of_class in learned.items() for path in of_class]
        with self._lock:
            for _ in self.read(photos):
                pass
            if self._fitted is None or self._fitted[0] != rows:
                self._fitted = rows, self._fit(rows)
            self._forget({_key(path) for of_class in photos.values() for path in of_class})
            return self._fitted[1]

    def _forget(self, stays: set[Key]) -> None:
        self._features = {key: found for key, found in self._features.items() if key in stays}

    def _fit(self, rows: list[tuple[str, Key]]) -> Classifier:
        classes = tuple(dict.fromkeys(name for name, _ in rows))
        features = torch.stack([self._features[key] for _, key in rows])  # (N, 512)
        head = build_head(_body(), LINEAR, TRANSFORM.image_size, len(classes), seed=0)
        labels = np.array([classes.index(name) for name, _ in rows])
        fit_at_once(head, features, labels, STRENGTH)
        network = Network(_body(), head.to(own_device())).eval()
        return Classifier(network=network, transform=TRANSFORM, classes=classes)


def _key(path: Path) -> Key:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def _others(of_class: list[Path], without: Collection[Path]) -> list[Path]:
    return [path for path in of_class if path not in without] or of_class


@cache
def _body() -> nn.Sequential:
    tensors = find_body(WEIGHTS, ARCHITECTURE, seed=0).tensors
    body = load_body(build_body(ARCHITECTURE), tensors).to(own_device())
    return body.to(memory_format=torch.channels_last).eval()


@torch.inference_mode()
def _features_of(files: list[Path]) -> torch.Tensor:
    """Float32 (N, 512), on the CPU. Raises ImageError."""
    pixels = torch.from_numpy(np.stack([TRANSFORM.pixels(path) for path in files]))
    output = in_parts(_body(), TRANSFORM.normalise(pixels.to(own_device())))  # (N, 512, 3, 3)
    return averaged(output).cpu()
