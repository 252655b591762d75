import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.data.local.test_folder import draw
from tests.data.test_drawings import shaded
from tests.hub_datasets import plain
from transfer.data.dataset import ImageDataset, Split
from transfer.data.source import load_splits, open_dataset, summarize
from transfer.errors import SettingsError, SourceError
from transfer.settings import TrainingSettings
from transfer.training.defaults import fill_defaults

SETTINGS = TrainingSettings()


def of_pictures(number: int, read) -> ImageDataset:
    split = Split(labels=np.zeros(number, dtype=np.int64), names=("",) * number, read=read)
    return ImageDataset(source="here", revision="1", classes=("x",), splits={"train": split})


def test_digits_get_three_splits_after_the_limit_drawn_by_the_seed():
    images = load_splits("digits", SETTINGS)
    assert images.counts() == {"train": 1222, "validation": 216, "test": 359}
    again, other = (load_splits("digits", TrainingSettings(seed=seed)) for seed in (0, 1))
    names = images.splits["test"].names
    assert names == again.splits["test"].names != other.splits["test"].names
    limited = load_splits("digits", TrainingSettings(limit_per_class=10))
    assert set(limited.class_counts().values()) == {10}


def test_a_folder_wins_over_the_hub_unless_the_hub_is_named(hub, tmp_path, monkeypatch):
    hub.add("datasets", "mine/pets", {"train.parquet": plain(*[0, 1] * 10)})
    draw(tmp_path, "mine/pets/cat/1.png", "mine/pets/dog/2.png", "hub:mine/pets/bird/3.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("mine/pets", " ~/mine/pets "):
        assert open_dataset(name, SETTINGS).classes == ("cat", "dog")
    images = load_splits("hub:mine/pets", TrainingSettings(label_column="label"))
    assert images.classes == ("wasp", "ant") and images.label_column == "label"
    assert images.counts() == {"train": 14, "validation": 2, "test": 4}


def test_a_folder_called_digits_is_not_passed_over_in_silence(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(draw(tmp_path, "digits/cat/1.png", "digits/dog/2.png"))
    assert len(open_dataset("digits", SETTINGS).classes) == 10
    assert "write ./digits for the folder" in caplog.text
    assert open_dataset("./digits", SETTINGS).classes == ("cat", "dog")


@pytest.mark.parametrize("source", ["./a/b", "a/b/c", "~/none", "~nobody-here/a", "x" * 5000, ""])
def test_what_is_no_path_and_no_hub_id_is_refused_without_a_request(hub, source):
    with pytest.raises(SourceError, match="Hub id"):
        open_dataset(source, SETTINGS)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"\x1f\x8b\x08", "found a gzip"),
        (b"Rar!\x1a\x07", "found a rar archive"),
        (b"x" * 257 + b"ustar\0", "found a tar archive"),
        (b"nothing known", "found the file 'pets.x'"),
    ],
)
def test_other_archives_are_named_whatever_their_ending(tmp_path, start, words):
    for ending in ("x", "zip"):
        (tmp_path / f"pets.{ending}").write_bytes(start)
        with pytest.raises(SourceError) as caught:
            open_dataset(str(tmp_path / f"pets.{ending}"), SETTINGS)
        assert words in str(caught.value) or (ending, start[:7]) == ("zip", b"nothing")


def test_a_limit_that_leaves_nothing_to_judge_by_is_refused(tmp_path):
    draw(tmp_path, *(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(5)))
    for limit in (1, 2):
        with pytest.raises(SettingsError, match=f"at least 3 for this dataset, found {limit}"):
            load_splits(str(tmp_path), TrainingSettings(limit_per_class=limit))
    limited = load_splits(str(tmp_path), TrainingSettings(limit_per_class=3))
    assert limited.counts() == {"train": 2, "validation": 2, "test": 2}


def test_a_summary_has_the_median_shorter_side_and_whether_they_are_drawings():
    pictures = [shaded(side) for side in (10, 40, 50, 60, 200)]
    found = summarize(of_pictures(5, lambda i: pictures[i]))
    assert (found.train_images, found.side, found.drawings) == (5, 50, False)
    assert summarize(open_dataset("digits", SETTINGS)).drawings


def test_large_grey_photos_get_what_colour_photos_get():
    grey = shaded(512)
    colour = Image.merge("RGB", (grey.getchannel(0), *ImageOps.mirror(grey).split()[1:]))
    grey, colour = (
        summarize(of_pictures(9, ([picture] * 9).__getitem__)) for picture in (grey, colour)
    )
    settings = fill_defaults(SETTINGS, grey, fast_device=True)
    assert settings == fill_defaults(SETTINGS, colour, fast_device=True)
    assert (settings.image_size, settings.views) == (224, 4)


def test_a_summary_reads_few_pictures_and_skips_unreadable_ones():
    read, picture = [], Image.new("RGB", (4, 4))
    images = of_pictures(1000, lambda i: read.append(i) or (picture if i else b""))
    assert summarize(images, at_most=5).side == 4
    assert len(read) == 5 and read[0] == 0 and read[-1] == 999
    with pytest.raises(SourceError, match="can be read"):
        summarize(of_pictures(2, lambda i: b""))
