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
    """A photo stored on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(0, 0).resize((40, 20)).save(tmp_path / "photo.png", exif=exif)
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
    return str(caught.value)


def test_enough_photos_can_be_trained_on_and_downloaded(mine, photo, tmp_path):
    assert mine.counts() == {} and not mine.folder.exists()
    with_photos(mine, photo, dog=6, cat=5).check()
    assert [*mine.counts().items()] == [("dog", 6), ("cat", 5)]
    saved = Image.open(mine.folder / "cat" / "00001.jpg")
    assert (saved.format, saved.size) == ("JPEG", (20, 40))
    images = load_splits(str(mine.folder), TrainingSettings())
    assert images.class_counts() == {"cat": 5, "dog": 6}
    with zipfile.ZipFile(mine.write_zip(tmp_path / "mine.zip")) as archive:
        assert archive.namelist()[5:7] == ["dog/00006.jpg", "cat/00001.jpg"]
    (mine.folder / "dog" / "00002.jpg").unlink()
    mine.add("dog", photo)  # no number is used twice
    assert (mine.folder / "dog" / "00007.jpg").exists()
    mine.remove_class("cat")
    assert mine.add_class("cat") == "cat" and mine.counts() == {"cat": 0, "dog": 6}


def test_bad_files_are_refused_and_leave_nothing(mine, tmp_path):
    (tmp_path / "page.jpg").write_text("<html>gone</html>")
    (tmp_path / "large.jpg").touch()
    os.truncate(tmp_path / "large.jpg", custom.MAX_PHOTO_BYTES + 1)
    mine.add_class("cat")
    for name, words in (("page.jpg", "web page"), ("large.jpg", "at most 50 MB")):
        with pytest.raises(ImageError, match=words):
            mine.add("cat", tmp_path / name)
    assert list((mine.folder / "cat").iterdir()) == []


def test_class_names_are_normalised_unique_and_fit_for_folders(mine, photo):
    for name in ("", "..", ".hidden", "end.", "../up", "a\\b", "a\x00b", "x" * 61, "Val", None):
        assert "choose another" in refused(mine.add_class, name)
    for name in ("con", "NUL.txt", "Com1", "lpt².a.b", "aux .x", "a\ud83d/"):
        assert "choose another" in refused(mine.add_class, name)
    assert not mine.folder.exists()
    assert mine.add_class("  Grüner   Tee ") == "Grüner Tee"
    assert "exists already" in refused(mine.add_class, "grüner tee")
    for name in ("../own-photos", "dog", "", "."):
        assert "none of that name" in refused(mine.remove_class, name)
        assert "none of that name" in refused(mine.add, name, photo)
    assert mine.folder.exists()


def test_classes_and_photos_are_limited(mine, photo, monkeypatch):
    monkeypatch.setattr(custom, "MAX_CLASSES", 2)
    monkeypatch.setattr(custom, "MAX_PHOTOS", 3)
    assert "at least 2 classes, found 0" in refused(mine.check)
    with_photos(mine, photo, cat=2, dog=1)
    assert "at most 2 classes" in refused(mine.add_class, "ant")
    assert "at most 3 photos" in refused(mine.add, "dog", photo)
    assert "found 1 in 'dog'" in refused(mine.check)


def test_what_was_removed_last_comes_back(mine, photo):
    with_photos(mine, photo, dog=2, cat=3)
    mine.undo()  # nothing was
    mine.remove_photo("cat", "00003.jpg")
    mine.add("cat", photo)  # takes the number that is free now
    mine.undo()
    assert [path.name for path in mine.by_class()["cat"]] == [f"0000{n}.jpg" for n in (1, 2, 3, 4)]
    mine.remove_photo("cat", "00001.jpg")
    mine.remove_class("dog")
    mine.undo()
    mine.undo()
    assert mine.counts() == {"cat": 3, "dog": 2} and not mine.removed.exists()
    assert "a photo of this class" in refused(mine.remove_photo, "cat", "../dog/00001.jpg")
    assert load_splits(str(mine.folder), TrainingSettings()).class_counts() == mine.counts()


def test_a_class_gets_another_name_in_its_place(mine, photo):
    with_photos(mine, photo, zebra=1, cat=2)
    assert mine.rename_class("zebra", " Zoe ") == "Zoe"
    assert mine.rename_class("Zoe", "zoe") == "zoe"
    assert [*mine.counts().items()] == [("zoe", 1), ("cat", 2)]
    assert "exists already" in refused(mine.rename_class, "zoe", "Cat")
    assert "class name" in refused(mine.rename_class, "zoe", "a/b")
    assert "one of your classes" in refused(mine.rename_class, "../cat", "dog")
