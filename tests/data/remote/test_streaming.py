import io

import numpy as np
import pytest
from PIL import Image

from tests.data.remote.test_dataset import load, problems, refusal
from tests.hub_datasets import (
    class_type,
    image_type,
    parquet,
    picture,
    plain,
    row_of,
)
from transfer.cache.downloads import open_datasets
from transfer.data.image import load_image
from transfer.data.remote import streaming
from transfer.data.source import load_splits
from transfer.settings import TrainingSettings

NOISE_SIDE = 128


def noise(row: int) -> bytes:
    """A picture of 49 kB that no two rows share."""
    pixels = np.random.default_rng(row).integers(0, 256, (NOISE_SIDE, NOISE_SIDE, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


def heavy(labels: list[int], names: tuple[str, ...], first: int = 0) -> bytes:
    """Row groups of 20 pictures, 1 MB each."""
    cells = [{"bytes": noise(first + row), "path": None} for row in range(len(labels))]
    types = {"image": image_type(), "label": class_type(*names)}
    return parquet(types, rows_a_group=20, image=cells, label=labels)


def served(hub, suffix: str) -> int:
    """Bytes of data files that were sent since the last call."""
    total = sum(number for name, number in hub.served if name.endswith(suffix))
    hub.served.clear()
    return total


@pytest.fixture(scope="module")
def mixed_files():
    """600 mixed pictures of two classes in three files of 10 MB each."""
    labels = np.random.default_rng(0).integers(0, 2, 600).tolist()
    return {
        f"data/train-{part}.parquet": heavy(labels[200 * part : 200 * part + 200], ("x", "y"), part)
        for part in range(3)
    }


@pytest.fixture
def mixed(hub, mixed_files) -> str:
    hub.add("datasets", "large/mixed", mixed_files)
    hub.served.clear()
    return "large/mixed"


def test_a_limit_downloads_a_part_which_is_used_again(hub, mixed, mixed_files):
    settings = TrainingSettings(limit_per_class=10)
    images = load_splits(mixed, settings)
    assert images.class_counts() == {"x": 10, "y": 10} and images.problems == ()
    assert list(images.splits) == ["train", "validation", "test"]
    assert 0 < served(hub, ".parquet") < sum(map(len, mixed_files.values())) / 3
    again = load_splits(mixed, settings)
    assert served(hub, ".parquet") == 0
    first, second = images.splits["train"], again.splits["train"]
    assert first.names == second.names and first.labels.tolist() == second.labels.tolist()
    read = [first.read(i) for i in range(len(first))]
    assert read == [second.read(i) for i in range(len(first))] and len(set(read)) == len(first)


def test_another_limit_or_seed_is_another_snapshot_without_shared_names(hub):
    """The feature cache identifies a selection by its names."""
    hub.add("datasets", "large/drawn", {"train.parquet": plain(*[0, 1] * 60)})
    by_name, selections = {}, set()
    for seed in range(4):
        images = load("large/drawn", limit_per_class=5, seed=seed)
        assert images.class_counts() == {"wasp": 5, "ant": 5}
        split = images.splits["train"]
        selections.add(split.names)
        for i, name in enumerate(split.names):
            assert by_name.setdefault(name, split.read(i)) == split.read(i)
    assert len(selections) > 1
    assert load("large/drawn", limit_per_class=6).class_counts() == {"wasp": 6, "ant": 6}
    assert len(open_datasets().entries()) == 5


def test_without_the_hub_an_earlier_snapshot_is_used(hub):
    hub.add("datasets", "large/away", {"train.parquet": plain(*[0, 1] * 20)})
    first = load("large/away", limit_per_class=10)
    with hub.gone():
        again = load("large/away", limit_per_class=10)
        assert "does not answer" in refusal("large/away", limit_per_class=11)
        assert "does not answer" in refusal("large/away")
        assert again.splits["train"].read(3) == first.splits["train"].read(3)
    assert again.revision == first.revision
    assert "the Hub does not answer: images saved earlier" in problems(again)


def test_no_more_rows_are_read_than_the_bound(hub, monkeypatch):
    monkeypatch.setattr(streaming, "ROWS_AT_LEAST", 60)
    monkeypatch.setattr(streaming, "ROWS_A_PLACE", 3)
    data = heavy([0] * 399 + [1], ("common", "rare"))
    hub.add("datasets", "large/rare", {"train.parquet": data})
    hub.served.clear()
    images = load("large/rare", limit_per_class=5)
    assert images.class_counts().get("common") == 5
    assert served(hub, ".parquet") < len(data) / 2
    assert "only 60 rows were read: some classes have less than 5" in problems(images)


def test_an_image_folder_downloads_only_what_is_used_of_all_classes(hub, monkeypatch):
    monkeypatch.setattr(streaming, "ROWS_SURE", 20)
    files = {
        f"train/{kind}/{number:02}.png": picture(100 * (kind == "dog") + number)
        for kind in ("cat", "dog")
        for number in range(60)
    }
    hub.add("datasets", "large/folders", files)
    hub.served.clear()
    images = load("large/folders", limit_per_class=4)
    assert images.class_counts() == {"cat": 4, "dog": 4}
    assert len({name for name, sent in hub.served if sent and name.endswith(".png")}) <= 12
    split = images.splits["train"]
    rows = [row_of(load_image(split.read(i))) for i in range(len(split))]
    assert sorted(row < 60 for row in rows) == [False] * 4 + [True] * 4
    assert all(name in files for name in split.names)
    assert not all(row % 100 < 4 for row in rows), "the first files are not a random draw"
