"""Whether a picture is like those that a classifier was trained on, or like none of them.

A classifier must choose one of its classes, so its scores say little about a picture of something
else. The distance to the nearest training photos in the network's own features does (Sun et al.
2022, Out-of-Distribution Detection with Deep Nearest Neighbors). Photos of other things sharpen it
(as Hendrycks et al. 2019, Deep Anomaly Detection with Outlier Exposure, but nothing is trained).
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transfer.errors import RunError
from transfer.features.fit import CHANNELS
from transfer.runs.run import FAMILIARITY, read_tensors

NEIGHBOUR = 5
FALSE_ALARMS = 0.05  # of photos like the training's, called unknown
OTHERS_WEIGHT = 0.5
MOST_REFERENCES = 2_000
MOST_LEVELS = 200


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """`references`, float32 (R, C), are directions of training photos; `levels`, float32 (2, L),
    the similarities of held-out photos to them, in rising order, and the share of held-out photos
    that are less similar. `names` (R) are the training photos, and empty in what was published.
    `others`, float32 (O, C), are directions of photos of other things: being similar to them counts
    against a picture.
    """

    references: np.ndarray
    levels: np.ndarray
    names: tuple[str, ...] = ()
    others: np.ndarray | None = None

    @classmethod
    def learn(
        cls,
        trained: np.ndarray,
        held_out: np.ndarray,
        names: tuple[str, ...] = (),
        others: np.ndarray | None = None,
    ) -> "Familiarity":
        """From averaged outputs of the body, float32 (N, C), of photos that the network was trained
        on, called `names`, of held-out photos like them, and of photos of other things."""
        references, others = _halved(trained), None if others is None else _halved(others)
        found = np.sort(_similarity(directions(held_out), references, others))
        shares = np.arange(1, len(found) + 1) / (len(found) + 1)
        chosen = np.unique(np.linspace(0, len(found) - 1, MOST_LEVELS).round().astype(int))
        levels = np.stack([found[chosen], shares[chosen]]).astype(np.float32)
        return cls(references=references, levels=levels, names=names, others=others)

    def of(self, outputs: np.ndarray) -> np.ndarray:
        """Averaged outputs of the body, float32 (N, C) → familiarity, float32 (N,), 0 to 1: the
        share of held-out photos that are less similar to the training photos."""
        similarity = _similarity(directions(outputs), self.references, self.others)
        return np.interp(similarity, *self.places).astype(np.float32)

    @property
    def places(self) -> np.ndarray:
        """(similarities, shares) between which familiarity is interpolated, float32 (2, L + 2)."""
        least = 0 if self.others is None else -OTHERS_WEIGHT
        return np.hstack([[[least], [0]], self.levels, [[1], [1]]]).astype(np.float32)

    def nearest(self, outputs: np.ndarray, most: int) -> list[str]:
        """The names of the training photos that are most similar to one picture, float32 (1, C),
        the most similar first."""
        cosines = (directions(outputs) @ self.references.T)[0]
        return [self.names[row] for row in np.argsort(-cosines)[:most]] if self.names else []

    def pack(self) -> bytes:
        """As a safetensors file, in half precision."""
        from safetensors.numpy import save

        tensors = {"references": self.references.astype(np.float16), "levels": self.levels}
        if self.others is not None:
            tensors["others"] = self.others.astype(np.float16)
        return save(tensors, {"names": json.dumps(self.names)})


def is_known(familiarity: np.ndarray | float) -> np.ndarray | bool:
    """Whether a picture counts as one of those that the classifier was trained on."""
    return familiarity >= FALSE_ALARMS


def unknown_share(familiarity: np.ndarray) -> float:
    """Of the pictures with these familiarities, the share that does not count as known."""
    return float(1 - is_known(familiarity).mean())


def directions(outputs: np.ndarray) -> np.ndarray:
    """Averaged outputs of the body, float32 (N, C), not negative → unit vectors, float32 (N, C).

    The square root keeps a few strong channels from deciding alone.
    """
    roots = np.sqrt(np.maximum(outputs, 0))
    return roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-12)


def _halved(outputs: np.ndarray) -> np.ndarray:
    """Directions as they are stored, in half precision."""
    return directions(outputs).astype(np.float16).astype(np.float32)


def _similarity(
    found: np.ndarray, references: np.ndarray, others: np.ndarray | None = None
) -> np.ndarray:
    """The cosine, 0…1, to the NEIGHBOURth most similar reference, less OTHERS_WEIGHT times that to
    the most similar one of the others, if there are any: float32 (N,)."""
    nth = min(NEIGHBOUR, len(references))
    similarity = np.partition(found @ references.T, -nth, axis=1)[:, -nth]
    if others is None:
        return similarity
    return similarity - OTHERS_WEIGHT * (found @ others.T).max(axis=1)


def read_familiarity(folder: Path) -> Familiarity | None:
    """None for a run of an older version. Raises RunError where the file does not fit."""
    if not (folder / FAMILIARITY).is_file():
        return None
    tensors, metadata = read_tensors(folder / FAMILIARITY)
    try:
        known = ["references", "levels", *({"others"} & tensors.keys())]
        found = {name: tensors[name].float().numpy() for name in known}
        names = tuple(map(str, json.loads(metadata.get("names", "[]"))))
        wide = [found[name].shape[1:] for name in known if name != "levels"]
        fits = all(shape == (CHANNELS["none"],) for shape in wide)
        fits = fits and found["levels"].ndim == 2 and len(found["levels"]) == 2
        fits = fits and len(names) in (0, len(found["references"]))
        fits = fits and all(np.isfinite(values).all() and values.size for values in found.values())
    except (KeyError, IndexError, ValueError, TypeError):
        fits = False
    if not fits:
        raise RunError(f"expected references and levels in the run's {FAMILIARITY}; train again")
    return Familiarity(**found, names=names)
