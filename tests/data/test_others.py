import shutil

import pytest

from tests.data.test_dataset import labelled
from tests.tiny import draw_classes
from transfer.data.others import MOST_OTHERS, OTHERS, with_others
from transfer.data.splits import with_all_splits
from transfer.errors import SourceError


@pytest.fixture
def images():
    return with_all_splits(labelled(train=[0, 1, 2] * 10), 0)


def test_all_photos_of_a_folder_or_a_zip_are_a_split_whatever_folders_they_are_in(images, tmp_path):
    folder = draw_classes(tmp_path / "other", each=2, classes=("train", "b"))
    shutil.copy(folder / "b" / "0.png", folder / "c.png")
    archive = shutil.make_archive(str(folder), "zip", folder)
    for source in (str(folder), f" {archive}"):
        found = with_others(images, source)
        others = found.splits[OTHERS]
        assert sorted(others.names) == ["b/0.png", "b/1.png", "c.png", "train/0.png", "train/1.png"]
        assert others.revision not in ("", images.revision) and others.read(4)
        assert {name: found.splits[name] for name in images.splits} == images.splits
    assert with_others(images, None) is images


def test_many_are_thinned_out_and_few_are_refused(images, tmp_path):
    for number in range(MOST_OTHERS + 9):
        (tmp_path / f"{number:03}.png").touch()
    found = with_others(images, str(tmp_path))
    assert len(found.splits[OTHERS]) == MOST_OTHERS
    assert found.splits[OTHERS].names[-1] == f"{MOST_OTHERS + 8}.png"
    assert "500 of 509 photos of other things are used" in found.problems[-1].why
    (tmp_path / "few").mkdir()
    for source, words in ((str(tmp_path / "few"), "at least 5 .* found 0"), ("no", "'no', which")):
        with pytest.raises(SourceError, match=words):
            with_others(images, source)
