"""Review a dataset's labels on its cached features."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from transfer.events import Event
from transfer.features.label_review import Suspect, review_labels
from transfer.features.out_of_fold import plain_features
from transfer.runs.familiarity import directions
from transfer.settings import TrainingSettings
from transfer.training.cached_features import cached_features
from transfer.training.state import TrainingState


@dataclass(frozen=True, kw_only=True)
class Review:
    """Suspects as {"where", "label", "likely", "score", "split"}, most suspicious first.

    `suspects` are of the `images` in training and validation, of which `estimated_wrong` are likely
    to be labelled wrong; `test_suspects` are test images.
    """

    suspects: list[dict]
    test_suspects: list[dict]
    estimated_wrong: int
    images: int

    def to_json(self) -> dict:
        return asdict(self)


def review(source: str, asked: TrainingSettings) -> Iterator[Event]:
    """Compute what is not cached, then judge every label; returns the Review.

    With the settings of a run the dataset is read as the run read it, with its corrections. Raises
    TransferError.
    """
    training = yield from cached_features(source, asked)
    splits = training.features
    learned = [splits["train"], splits["validation"]]
    found = review_labels(
        directions(np.concatenate([*map(plain_features, learned)])),
        np.concatenate([split.labels.numpy() for split in learned]),
        directions(plain_features(splits["test"])),
        splits["test"].labels.numpy(),
        training.settings.seed,
    )
    return Review(
        suspects=_named(training, ("train", "validation"), found.suspects),
        test_suspects=_named(training, ("test",), found.test_suspects),
        estimated_wrong=found.estimated_wrong,
        images=sum(map(len, learned)),
    )


def _named(training: TrainingState, names: tuple[str, ...], suspects: list[Suspect]) -> list[dict]:
    """With the names of images and classes; rows count through the splits `names`."""
    splits, classes = training.features, training.images.classes
    images = [
        (where, label, name)
        for name in names
        for where, label in zip(splits[name].names, splits[name].labels.tolist(), strict=True)
    ]
    found = []
    for suspect in suspects:
        where, label, split = images[suspect.row]
        known = {"where": where, "label": classes[label], "likely": classes[suspect.likely]}
        found.append(known | {"score": suspect.score, "split": split})
    return found
