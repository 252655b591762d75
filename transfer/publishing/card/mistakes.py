"""Mistakes seen again: the pictures themselves, where they are public and still at hand."""

from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from transfer import hub
from transfer.data.dataset import ImageDataset
from transfer.data.source import load_splits
from transfer.errors import ImageError
from transfer.publishing.card.license import hub_set, is_digits
from transfer.runs.run import Run

SHOWN_AT_MOST = 8
SECONDS = 20.0
SIDE = 256


@dataclass(frozen=True, kw_only=True)
class MistakeExample:
    """A mistake with its picture; `truth` and `answer` are (class name, its number from 0)."""

    picture: Image.Image
    truth: tuple[str, int]
    answer: tuple[str, int]
    score: float


def mistakes_again(run: Run) -> list[MistakeExample]:
    """The most confident mistakes, best read from the source as it was; [] where it is not here.

    Only for public sources. Downloads no images.
    """
    mistakes = [m for m in run.report.get("mistakes", []) if m.get("name")][:SHOWN_AT_MOST]
    images = _images(run) if mistakes else None
    if images is None or "test" not in images.splits:
        return []
    test, numbers = images.splits["test"], {name: i for i, name in enumerate(run.classes)}
    rows = {name: row for row, name in enumerate(test.names)}
    shown = []
    for mistake in mistakes:
        row = rows.get(mistake["name"])
        if row is None or images.classes[test.labels[row]] != mistake["label"]:
            return []  # other images by the same names
        try:
            picture = run.transform.load(test.read(row))
        except ImageError:
            continue
        picture.thumbnail((SIDE, SIDE))
        truth, answer = ((mistake[key], numbers[mistake[key]]) for key in ("label", "predicted"))
        shown.append(
            MistakeExample(picture=picture, truth=truth, answer=answer, score=mistake["score"])
        )
    return shown


def _images(run: Run) -> ImageDataset | None:
    """All splits as they were for the training, or None."""
    try:
        if is_digits(run):
            images = load_splits("digits", run.settings)
        else:
            images = hub.with_deadline(lambda: _kept_here(run), SECONDS)
    except Exception:  # a card without these pictures is no less true
        return None
    same = images is not None and images.revision == run.record.get("revision")
    return images if same else None


def _kept_here(run: Run) -> ImageDataset | None:
    """Opened only once it is sure that no image must be downloaded for it."""
    name = hub_set(run)
    here = _taken(run, name) if run.settings.limit_per_class else _downloaded(run, name)
    return load_splits(f"hub:{name}", run.settings) if here else None


def _taken(run: Run, name: str) -> bool:
    from transfer.data.remote import snapshot
    from transfer.data.remote.columns import LoadOptions

    settings = run.settings
    wish = LoadOptions(
        config=settings.config,
        image_column=settings.image_column,
        label_column=settings.label_column,
        limit_per_class=settings.limit_per_class,
        seed=settings.seed,
    )
    return snapshot.find_public(name, asdict(wish)) is not None


def _downloaded(run: Run, name: str) -> bool:
    from transfer.data.remote.repository import pin

    repository = pin(name)
    return Path(repository.builder(run.settings.config).cache_dir).is_dir()
