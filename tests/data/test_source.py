import io

import numpy as np
import pytest
from PIL import Image

from tests.data.local.test_folder import draw
from tests.data.remote.test_dataset import parquet
from transfer.data.dataset import ImageDataset, Split
from transfer.data.source import load_splits, open_dataset, summarize
from transfer.errors import SourceError
from transfer.settings import TrainingSettings

SETTINGS = TrainingSettings()


def of_pictures(*pictures) -> ImageDataset:
    split = Split(
        labels=np.zeros(len(pictures), dtype=np.int64),
        names=tuple(f"picture {i}" for i in range(len(pictures))),
        read=lambda i: pictures[i],
    )
    return ImageDataset(source="here", revision="1", classes=("x",), splits={"train": split})


def png(width: int, height: int, colour) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def test_digits_get_all_three_splits():
    images = load_splits("digits", SETTINGS)
    assert sum(images.counts().values()) == 1797
    assert list(images.splits) == ["train", "validation", "test"]


def test_the_limit_comes_before_the_splits():
    images = load_splits("digits", TrainingSettings(limit_per_class=10))
    assert set(images.class_counts().values()) == {10}


def test_the_seed_decides_the_splits():
    first, again, other = (
        load_splits("digits", TrainingSettings(seed=seed)).splits["test"].names
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_folder_is_opened(tmp_path):
    draw(tmp_path, "cat/1.png", "dog/2.png")
    assert open_dataset(f"  {tmp_path} ", SETTINGS).classes == ("cat", "dog")


def test_a_folder_in_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    draw(tmp_path, "pets/cat/1.png", "pets/dog/2.png")
    assert open_dataset("~/pets", SETTINGS).classes == ("cat", "dog")


def test_a_folder_wins_over_the_hub_unless_the_hub_is_named(hub, tmp_path, monkeypatch):
    hub.add("datasets", "mine/pets", {"train.parquet": parquet([0, 1], classes=["x", "y"])})
    draw(tmp_path, "mine/pets/cat/1.png", "mine/pets/dog/2.png", "hub:mine/pets/bird/3.png")
    monkeypatch.chdir(tmp_path)
    assert open_dataset("mine/pets", SETTINGS).classes == ("cat", "dog")
    assert open_dataset("hub:mine/pets", SETTINGS).classes == ("x", "y")


def test_a_hub_id_goes_to_the_hub_with_the_settings(hub):
    kinds = ["a", "b", "a", "b"]
    hub.add("datasets", "mine/kinds", {"train.parquet": parquet(kinds, label="kind")})
    settings = TrainingSettings(label_column="kind", image_column="image")
    assert open_dataset("mine/kinds", settings).classes == ("a", "b")


def test_a_hub_set_without_validation_gets_one(hub):
    labels = [0, 1] * 10
    hub.add("datasets", "mine/one", {"train.parquet": parquet(labels, classes=["x", "y"])})
    images = load_splits("mine/one", SETTINGS)
    assert images.counts() == {"train": 14, "validation": 2, "test": 4}


@pytest.mark.parametrize(
    "source",
    [
        "./a/b",
        "a/b/c",
        "C:\\pets",
        "~/none",
        "~nobody-here/a/b",
        "a b/c",
        "x" * 5000,
        "",
    ],
)
def test_what_is_neither_here_nor_a_hub_id_is_refused_without_asking(hub, source):
    with pytest.raises(SourceError, match="Hub id") as caught:
        open_dataset(source, SETTINGS)
    assert "\n" not in str(caught.value)
    assert hub.requests == []


def test_a_word_is_a_folder_here_or_an_id_on_the_hub(hub):
    with pytest.raises(SourceError, match="no folder or zip is called 'wrod' here, and expected"):
        open_dataset("wrod", SETTINGS)
    assert hub.requests != []


def test_a_glance_sees_the_median_shorter_side_and_the_colour():
    look = summarize(of_pictures(*(png(side, 90, "red") for side in (10, 40, 50, 60, 200))))
    assert (look.train_images, look.side, look.grey) == (5, 50, False)


def test_a_glance_takes_grey_for_grey_even_when_stored_as_rgb():
    assert summarize(of_pictures(png(4, 4, (90, 92, 88)))).grey
    assert not summarize(of_pictures(png(4, 4, (90, 92, 88)), png(4, 4, (90, 90, 20)))).grey


def test_a_glance_reads_few_pictures_spread_over_all():
    read = []
    split = Split(
        labels=np.zeros(1000, dtype=np.int64),
        names=("",) * 1000,
        read=lambda i: read.append(i) or png(4, 4, "red"),
    )
    images = ImageDataset(source="here", revision="1", classes=("x",), splits={"train": split})
    assert summarize(images, at_most=5).train_images == 1000
    assert len(read) == 5 and read[0] == 0 and read[-1] == 999


def test_a_glance_skips_what_cannot_be_read_unless_it_is_everything():
    assert summarize(of_pictures(b"", png(4, 4, "red"))).side == 4
    with pytest.raises(SourceError, match="can be read"):
        summarize(of_pictures(b"", b"no"))
