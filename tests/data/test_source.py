import io

import numpy as np
import pytest
from PIL import Image

from tests.data.local.test_folder import draw
from tests.hub_datasets import plain
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


def test_digits_get_three_splits_after_the_limit_drawn_by_the_seed():
    images = load_splits("digits", SETTINGS)
    assert images.counts() == {"train": 1222, "validation": 216, "test": 359}
    again, other = (load_splits("digits", TrainingSettings(seed=seed)) for seed in (0, 1))
    names = images.splits["test"].names
    assert names == again.splits["test"].names != other.splits["test"].names
    limited = load_splits("digits", TrainingSettings(limit_per_class=10))
    assert set(limited.class_counts().values()) == {10}


def test_a_folder_is_found_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    draw(tmp_path, "pets/cat/1.png", "pets/dog/2.png")
    assert open_dataset(" ~/pets ", SETTINGS).classes == ("cat", "dog")


def test_a_folder_wins_over_the_hub_unless_the_hub_is_named(hub, tmp_path, monkeypatch):
    hub.add("datasets", "mine/pets", {"train.parquet": plain(*[0, 1] * 10)})
    draw(tmp_path, "mine/pets/cat/1.png", "mine/pets/dog/2.png", "hub:mine/pets/bird/3.png")
    monkeypatch.chdir(tmp_path)
    assert open_dataset("mine/pets", SETTINGS).classes == ("cat", "dog")
    images = load_splits("hub:mine/pets", TrainingSettings(label_column="label"))
    assert images.classes == ("wasp", "ant") and images.label_column == "label"
    assert images.counts() == {"train": 14, "validation": 2, "test": 4}


@pytest.mark.parametrize("source", ["./a/b", "a/b/c", "~/none", "~nobody-here/a", "x" * 5000, ""])
def test_what_is_no_path_and_no_hub_id_is_refused_without_a_request(hub, source):
    with pytest.raises(SourceError, match="Hub id") as caught:
        open_dataset(source, SETTINGS)
    assert "\n" not in str(caught.value)
    assert hub.requests == []


def test_a_word_is_a_local_folder_or_an_id_on_the_hub(hub):
    with pytest.raises(SourceError, match="no folder or zip is called 'wrod' here, and expected"):
        open_dataset("wrod", SETTINGS)
    assert hub.requests != []


def test_a_summary_has_the_median_shorter_side_and_whether_all_are_grey():
    found = summarize(of_pictures(*(png(side, 90, "red") for side in (10, 40, 50, 60, 200))))
    assert (found.train_images, found.side, found.grey) == (5, 50, False)
    assert summarize(of_pictures(png(4, 4, (90, 92, 88)))).grey
    assert not summarize(of_pictures(png(4, 4, (90, 92, 88)), png(4, 4, (90, 90, 20)))).grey


def test_a_summary_reads_few_pictures_and_skips_unreadable_ones():
    read = []
    split = Split(
        labels=np.zeros(1000, dtype=np.int64),
        names=("",) * 1000,
        read=lambda i: read.append(i) or (b"" if i == 0 else png(4, 4, "red")),
    )
    images = ImageDataset(source="here", revision="1", classes=("x",), splits={"train": split})
    assert summarize(images, at_most=5).side == 4
    assert len(read) == 5 and read[0] == 0 and read[-1] == 999
    with pytest.raises(SourceError, match="can be read"):
        summarize(of_pictures(b"", b"no"))
