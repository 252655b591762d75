"""How far answers can be trusted, measured on the frozen body's features of a dataset.

    python -m examples.benchmarks.trust photos/flowers12 --strangers photos/bees --run runs/flowers

Ten times all images are divided into training, validation and test (stratified), and a linear
classifier is fitted as `--method features` does it. Printed as JSON, each as [mean, least, most]
over the draws: its accuracy; calibration error before and after; share and size of sets; test
images called unknown; with `--strangers` the share of those that are called so, and the AUROC, also
where 50 of them are learned from as photos of other things and the rest is judged. The same without
these 50 for each finished run on the dataset, as it is used: with its own body, in full precision.
Then 5 % of the labels are planted wrong, k of them, and reviewed: the share of them among the first
k suspects, and among the first k and 2 % of the images more.
"""

import json
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from transfer.data.dataset import ImageDataset, Split
from transfer.data.source import load_splits, open_dataset
from transfer.data.splits import with_all_splits
from transfer.features.cached_dataset import CachedDataset
from transfer.features.calibration import Calibration
from transfer.features.label_review import review_labels
from transfer.features.linear_probe import fit_linear
from transfer.features.out_of_fold import plain_features
from transfer.inference.classifier import Classifier
from transfer.inference.loading import load
from transfer.model.vgg import Head
from transfer.runs.familiarity import Familiarity, directions, unknown_share
from transfer.runs.metrics import reliability, set_report
from transfer.runs.run import read_run
from transfer.settings import LINEAR_HEAD, TrainingSettings
from transfer.training.cached_features import cached_features

DRAWS, PLANTED, MORE = 10, 0.05, 0.02
LEARNED_STRANGERS = 50


def main(
    source: Annotated[str, typer.Argument(help="As for `train`.")],
    strangers: Annotated[str | None, typer.Option(help="Images of other things.")] = None,
    run: Annotated[list[str] | None, typer.Option(help="A finished run on the dataset.")] = None,
) -> None:
    x, y = features(source)
    others = features(strangers)[0] if strangers else None
    drawn = [judged(x, y, others, seed) for seed in range(DRAWS)]
    planted = [found_again(x, y, seed) for seed in range(DRAWS)]
    result = spread(drawn) | {"planted": spread(planted)}
    result["runs"] = {name: of_run(name, source, strangers) for name in run or ()}
    print(json.dumps({"source": source, "strangers": strangers, "images": len(y)} | result))


def features(source: str) -> tuple[np.ndarray, np.ndarray]:
    """(averaged outputs of the body, float32 (N, C), labels, int64 (N,)) of all images."""
    training = drained(cached_features(source, TrainingSettings()))
    splits = training.features.values()
    x = np.concatenate([plain_features(split) for split in splits])
    return x, np.concatenate([split.labels.numpy() for split in splits])


def drained(events):
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def judged(x: np.ndarray, y: np.ndarray, others: np.ndarray | None, seed: int) -> dict:
    """One draw of the splits."""
    rows = divided(y, seed)
    split = {name: in_memory(x[part], y[part]) for name, part in rows.items()}
    head = Head(LINEAR_HEAD, x.shape[1], 1, y.max() + 1)
    calibration = Calibration.of(fit_linear(head, split, seed).out_of_fold)
    labels = y[rows["test"]]
    with torch.no_grad():
        logits = head(split["test"].inputs[0]).numpy()
    scores, before = calibration.tempered(logits), softmax(logits, axis=1)
    hits, inside = scores.argmax(1) == labels, scores >= calibration.least_score
    familiarity = Familiarity.learn(x[rows["train"]], x[rows["validation"]])
    own = familiarity.of(x[rows["test"]])
    found = {
        "accuracy": hits.mean(),
        "error_before": reliability(before.max(1), hits)["error"],
        "error": reliability(scores.max(1), hits)["error"],
        "unknown": unknown_share(own),
    } | set_report(inside[np.arange(len(labels)), labels], inside.sum(1))
    if others is not None:
        found |= told_apart(own, familiarity.of(others))
        others = np.random.default_rng(seed).permutation(others)
        learned, rest = np.split(others, [LEARNED_STRANGERS])
        familiarity = Familiarity.learn(x[rows["train"]], x[rows["validation"]], others=learned)
        own = familiarity.of(x[rows["test"]])
        more = {"unknown": unknown_share(own)} | told_apart(own, familiarity.of(rest))
        found |= {f"{name}_with_others": value for name, value in more.items()}
    return found


def told_apart(own: np.ndarray, strange: np.ndarray) -> dict:
    """From the familiarity, float32 (N,), of own test images and of strangers."""
    known = np.r_[np.ones(len(own)), np.zeros(len(strange))]
    auroc = roc_auc_score(known, np.r_[own, strange])
    return {"strangers_unknown": unknown_share(strange), "auroc": auroc}


def of_run(name: str, source: str, strangers: str | None) -> dict:
    """A finished run on its own test images and on strangers."""
    classifier, settings = load(name), read_run(name).settings
    own = familiarities(classifier, load_splits(source, settings).splits["test"])
    found = {"unknown": unknown_share(own)}
    if strangers:
        splits = open_dataset(strangers, TrainingSettings()).splits.values()
        strange = np.concatenate([familiarities(classifier, split) for split in splits])
        found |= told_apart(own, strange)
    return {name: round(float(value), 3) for name, value in found.items()}


def familiarities(classifier: Classifier, split: Split) -> np.ndarray:
    """float32 (N,), of all images of a split."""
    pictures = (classifier.prepare(split.read(row)) for row in range(len(split)))
    return np.array([classifier.answer(picture).familiarity for picture in pictures])


def divided(y: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Split → rows, drawn as for a dataset that comes without splits."""
    whole = Split(labels=y, names=tuple(map(str, range(len(y)))), read=lambda i: i)
    classes = tuple(map(str, range(y.max() + 1)))
    images = ImageDataset(source="", revision="", classes=classes, splits={"train": whole})
    drawn = with_all_splits(images, seed).splits
    return {name: np.array([int(row) for row in split.names]) for name, split in drawn.items()}


def in_memory(x: np.ndarray, y: np.ndarray) -> CachedDataset:
    return CachedDataset(
        inputs=torch.from_numpy(x)[None, :, :, None, None],
        rows=torch.arange(len(y)),
        labels=torch.from_numpy(y),
        names=tuple(map(str, range(len(y)))),
    )


def found_again(x: np.ndarray, y: np.ndarray, seed: int) -> dict:
    """The share of planted labels that the review ranks first."""
    random, k = np.random.default_rng(seed), round(PLANTED * len(y))
    planted = random.permutation(len(y))[:k]
    wrong, classes = y.copy(), y.max() + 1
    wrong[planted] = (y[planted] + random.integers(1, classes, k)) % classes
    review = review_labels(directions(x), wrong, directions(x[:1]), y[:1], seed)
    ranked = [suspect.row for suspect in review.suspects]
    more = k + round(MORE * len(y))
    return {
        "first_k": np.isin(planted, ranked[:k]).mean(),
        "first_k_and_2_percent": np.isin(planted, ranked[:more]).mean(),
        "estimated": review.estimated_wrong / k,
    }


def spread(draws: list[dict]) -> dict[str, list[float]]:
    """Name → [mean, least, most]."""
    columns = {name: [float(draw[name]) for draw in draws] for name in draws[0]}
    return {
        name: [round(value, 3) for value in (np.mean(values), min(values), max(values))]
        for name, values in columns.items()
    }


if __name__ == "__main__":
    typer.run(main)
