import os
import stat
import time

import numpy as np
import pytest

from transfer.errors import CacheError, ImageError
from transfer.source import kept
from transfer.source.labelled import LabelledImages, Problem

WISH = {"config": None, "limit_per_class": 2}
KEY = {"name": "user/name", "revision": "abc", "closed": False} | WISH


def keep(key: dict = KEY, pictures: tuple[bytes, ...] = (b"one", b"", b"three")) -> None:
    with kept.keeping(key) as folder:
        with kept.split_file(folder, "train") as train:
            for number, data in enumerate(pictures):
                train.add(f"picture {number}", data)
        with kept.split_file(folder, "test") as unused:
            unused.add("hidden", b"hidden")
        images = LabelledImages(
            source=f"hub:{key['name']}",
            revision=key["revision"],
            classes=("x", "y"),
            splits={"train": train.as_split(np.array([1, 0, 1]))},
            image_column="image",
            label_column="label",
            problems=(Problem(where="here", why="so"),),
        )
        kept.write_record(folder, key, images, {"train": train, "test": unused})


def test_what_was_kept_is_found_again():
    keep()
    images = kept.find(KEY)
    split = images.splits["train"]
    assert [split.read(i) for i in range(3)] == [b"one", b"", b"three"]
    assert split.labels.tolist() == [1, 0, 1] and split.labels.dtype == np.int64
    assert split.names == ("picture 0", "picture 1", "picture 2")
    assert images.problems == (Problem(where="here", why="so"),)
    assert (images.source, images.revision, images.classes) == ("hub:user/name", "abc", ("x", "y"))
    assert (images.image_column, images.label_column) == ("image", "label")


@pytest.mark.parametrize("field", KEY)
def test_another_key_finds_nothing(field):
    keep()
    assert kept.find(KEY | {field: "other"}) is None


def test_only_its_owner_may_look(cache):
    cache.mkdir(mode=0o755)
    (cache / "taken").mkdir(mode=0o755)
    keep()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (cache / "taken").rglob("*.*")}
    assert modes == {0o600}
    folders = [cache / "taken", *(cache / "taken").iterdir()]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_a_split_that_is_not_used_leaves_no_file(cache):
    keep()
    assert not list((cache / "taken").rglob("test.bin"))


def test_what_ends_early_is_not_found(cache):
    with pytest.raises(ZeroDivisionError), kept.keeping(KEY) as folder:
        with kept.split_file(folder, "train") as train:
            train.add("one", b"one")
        raise ZeroDivisionError
    assert kept.find(KEY) is None
    assert not list((cache / "taken").iterdir())


def test_whoever_is_second_leaves_the_first_ones_images():
    with kept.keeping(KEY) as folder:
        (folder / "late").write_bytes(b"")
        keep()
    assert kept.find(KEY).splits["train"].read(0) == b"one"


def test_a_record_that_is_cut_off_is_made_again(cache):
    keep()
    record = next((cache / "taken").rglob(kept.RECORD))
    record.write_bytes(record.read_bytes()[:40])
    assert kept.find(KEY) is None
    keep()
    assert kept.find(KEY) is not None


def test_images_that_went_meanwhile_are_told(cache):
    keep()
    images = kept.find(KEY)
    next((cache / "taken").rglob("train.bin")).unlink()
    with pytest.raises(ImageError, match="open the data set again"):
        images.splits["train"].read(0)


def test_the_newest_open_taking_is_found_by_name(cache):
    keep(KEY | {"revision": "old"})
    for record in (cache / "taken").rglob(kept.RECORD):
        os.utime(record.parent, (1, 1))
    keep(KEY | {"revision": "new"})
    for name in ("user/name", "name"):
        assert kept.find_public(name, WISH).revision == "new"
    assert kept.find_public("ame", WISH) is None
    assert kept.find_public("user/other", WISH) is None
    assert kept.find_public("user/name", WISH | {"limit_per_class": 3}) is None


def test_a_closed_taking_is_not_found_by_name():
    keep(KEY | {"closed": True})
    assert kept.find_public("user/name", WISH) is None


def test_old_leftovers_go_and_new_ones_stay(cache):
    top = kept.private_folder("taken")
    for name, age in (("old.part", 2 * kept.DAY_SECONDS), ("new.part", 0)):
        (top / name).mkdir()
        os.utime(top / name, (time.time() - age,) * 2)
    keep()
    assert sorted(path.name for path in top.glob("*.part")) == ["new.part"]


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRANSFER_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="set TRANSFER_CACHE"):
        keep()
