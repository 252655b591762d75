import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny import picture
from transfer.data.local import custom
from transfer.data.local.custom import CustomImages
from transfer.data.source import load_splits
from transfer.errors import ImageError, SourceError
from transfer.settings import TrainingSettings


@pytest.fixture
def mine(tmp_path) -> CustomImages:
    return CustomImages(tmp_path / "own-photos")


@pytest.fixture
def photo(tmp_path) -> Path:
    picture(0, 0).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def with_photos(mine: CustomImages, photo: Path, **counts: int) -> CustomImages:
    for name, number in counts.items():
        mine.add_class(name)
        for _ in range(number):
            mine.add(name, photo)
    return mine


def refused(call, *args) -> str:
    with pytest.raises(SourceError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_is_there_before_the_first_class(mine):
    assert mine.counts() == {}
    assert not mine.folder.exists()


def test_classes_and_photos_are_counted(mine, photo):
    with_photos(mine, photo, dog=2, cat=3)
    assert mine.counts() == {"cat": 3, "dog": 2}


def test_a_photo_is_kept_upright_as_a_jpeg(mine, tmp_path):
    image = Image.new("RGB", (40, 20), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    with_photos(mine, tmp_path / "turned.jpg", cat=1)
    kept = Image.open(mine.folder / "cat" / "00001.jpg")
    assert (kept.format, kept.size) == ("JPEG", (20, 40))


def test_a_file_that_is_no_picture_is_refused_and_leaves_nothing(mine, tmp_path):
    (tmp_path / "page.jpg").write_text("<html>gone</html>")
    mine.add_class("cat")
    with pytest.raises(ImageError, match="web page"):
        mine.add("cat", tmp_path / "page.jpg")
    assert list((mine.folder / "cat").iterdir()) == []


def test_a_photo_that_is_too_large_is_refused(mine, tmp_path):
    mine.add_class("cat")
    large = tmp_path / "large.jpg"
    large.touch()
    os.truncate(large, custom.MAX_PHOTO_BYTES + 1)
    with pytest.raises(ImageError, match="at most 50 MB"):
        mine.add("cat", large)


def test_after_a_class_is_removed_its_name_is_free(mine, photo):
    with_photos(mine, photo, cat=1)
    mine.remove_class("cat")
    assert mine.counts() == {}
    assert mine.add_class("cat") == "cat"


def test_names_are_kept_as_they_are_written_but_for_blanks(mine):
    assert mine.add_class("  Grüner   Tee ") == "Grüner Tee"
    assert "there already" in refused(mine.add_class, "grüner tee")


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "..", ".hidden", "end.", "a/b", "a\\b", "../up", "a:b", "a\x00b", "x" * 61),
        *("train", "Val", "test", None),
    ],
    ids=repr,
)
def test_a_name_that_is_no_folder_s_is_refused(mine, name):
    assert "choose another" in refused(mine.add_class, name)
    assert not mine.folder.exists()


def test_only_one_s_own_classes_are_touched(mine, photo, tmp_path):
    (tmp_path / "other").mkdir()
    mine.add_class("cat")
    for name in ("../other", "dog", "", "."):
        assert "none of that name" in refused(mine.remove_class, name)
        assert "none of that name" in refused(mine.add, name, photo)
    assert (tmp_path / "other").exists()


def test_there_is_a_limit_of_classes_and_photos(mine, photo, monkeypatch):
    monkeypatch.setattr(custom, "MAX_CLASSES", 2)
    monkeypatch.setattr(custom, "MAX_PHOTOS", 3)
    with_photos(mine, photo, cat=2, dog=1)
    assert "at most 2 classes" in refused(mine.add_class, "ant")
    assert "at most 3 photos" in refused(mine.add, "dog", photo)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, "at least 2 classes, found 0"),
        ({"cat": 9}, "at least 2 classes, found 1"),
        ({"cat": 5, "dog": 4}, "found 4 in 'dog'"),
    ],
    ids=str,
)
def test_too_little_to_learn_from_is_told(mine, photo, counts, words):
    assert words in refused(with_photos(mine, photo, **counts).check)


def test_enough_is_a_source_like_any_other(mine, photo):
    with_photos(mine, photo, cat=5, dog=6).check()
    images = load_splits(str(mine.folder), TrainingSettings())
    assert images.class_counts() == {"cat": 5, "dog": 6}


def test_the_zip_holds_the_class_folders(mine, photo, tmp_path):
    with_photos(mine, photo, cat=1, dog=2)
    with zipfile.ZipFile(mine.write_zip(tmp_path / "mine.zip")) as archive:
        assert archive.namelist() == ["cat/00001.jpg", "dog/00001.jpg", "dog/00002.jpg"]


def test_a_number_is_not_given_twice(mine, photo):
    with_photos(mine, photo, cat=3)
    (mine.folder / "cat" / "00002.jpg").unlink()
    mine.add("cat", photo)
    assert [path.name for path in sorted((mine.folder / "cat").iterdir())] == [
        "00001.jpg",
        "00003.jpg",
        "00004.jpg",
    ]
