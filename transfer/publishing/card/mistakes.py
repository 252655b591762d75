"""The images of a run's mistakes, if they are public and still on this machine."""

from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from transfer import hub
from transfer.data.dataset import ImageDataset
from transfer.data.source import load_splits
from transfer.errors import ImageError
from transfer.publishing.card.license import hub_dataset, is_digits
from transfer.runs.run import Run

SHOWN_AT_MOST = 8
SECONDS = 20.0  # for opening a dataset that is on this machine
SIDE = 256  # pixels


@dataclass(frozen=True, kw_only=True)
class MistakeExample:
    """`truth` and `predicted` are (class name, its number from 0)."""

    picture: Image.Image
    truth: tuple[str, int]
    predicted: tuple[str, int]
    score: float


def find_mistakes(run: Run) -> list[MistakeExample]:
    """The most confident mistakes of a run on public images; [] if the images are not here.

    Downloads no images.
    """
    mistakes = [m for m in run.report.get("mistakes", []) if m.get("name")][:SHOWN_AT_MOST]
    images = _open(run) if mistakes else None
    if images is None or "test" not in images.splits:
        return []
    test, numbers = images.splits["test"], {name: i for i, name in enumerate(run.classes)}
    rows = {name: row for row, name in enumerate(test.names)}
    found = []
    for mistake in mistakes:
        row = rows.get(mistake["name"])
        if row is None or images.classes[test.labels[row]] != mistake["label"]:
            return []  # other images with the same names
        try:
            picture = run.transform.load(test.read(row))
        except ImageError:
            continue
        picture.thumbnail((SIDE, SIDE))
        truth, predicted = ((mistake[key], numbers[mistake[key]]) for key in ("label", "predicted"))
        found.append(
            MistakeExample(
                picture=picture, truth=truth, predicted=predicted, score=mistake["score"]
            )
        )
    return found


def _open(run: Run) -> ImageDataset | None:
    """The dataset as it was in the training, or None."""
    try:
        if is_digits(run):
            images = load_splits("digits", run.settings)
        else:
            images = hub.with_deadline(lambda: _open_if_local(run, hub_dataset(run)), SECONDS)
    except Exception:  # the card does without these images
        return None
    same = images is not None and images.revision == run.record.get("revision")
    return images if same else None


def _open_if_local(run: Run, name: str) -> ImageDataset | None:
    from transfer.data.remote import snapshot
    from transfer.data.remote.columns import LoadOptions
    from transfer.data.remote.repository import pin

    settings = run.settings
    if settings.limit_per_class:
        options = LoadOptions.of(settings)
        is_local = snapshot.find_public(name, asdict(options)) is not None
    else:
        is_local = Path(pin(name).builder(settings.config).cache_dir).is_dir()
    return load_splits(f"hub:{name}", settings) if is_local else None
