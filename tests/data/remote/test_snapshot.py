import json
import os
import shutil
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import transfer
from transfer.cache.downloads import PART, RECORD, DataSet, open_data_sets
from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.remote import snapshot
from transfer.errors import CacheError, ImageError

TOP = Path(transfer.__file__).parents[1]
WISH = {"config": None, "limit_per_class": 2}
KEY = {"name": "user/name", "revision": "abc", "closed": False} | WISH
IMAGE_BYTES = 100_000
ROOM_FOR_TWO = 2.5 * 3 * IMAGE_BYTES

ANOTHER = """
import json
import sys
from transfer.data.remote import snapshot

key = json.loads(sys.argv[2])
if sys.argv[1] == "reads":
    images = snapshot.find(key)
else:
    taking = snapshot.keeping(key)
    folder = taking.__enter__()
print("at it", flush=True)
sys.stdin.read()
"""


def keep(key: dict = KEY, pictures: tuple[bytes, ...] = (b"one", b"", b"three")) -> None:
    with snapshot.keeping(key) as folder:
        with snapshot.split_file(folder, "train") as train:
            for number, data in enumerate(pictures):
                train.add(f"picture {number}", data)
        with snapshot.split_file(folder, "test") as unused:
            unused.add("hidden", b"hidden")
        images = ImageDataset(
            source=f"hub:{key['name']}",
            revision=key["revision"],
            classes=("x", "y"),
            splits={"train": train.as_split(np.array([1, 0, 1]))},
            image_column="image",
            label_column="label",
            problems=(DataIssue(where="here", why="so"),),
        )
        snapshot.write_record(folder, key, images, {"train": train, "test": unused})


def large(name: str) -> dict:
    """Keep three images under this name; returns the key."""
    key = KEY | {"name": name}
    keep(key, (b"x" * IMAGE_BYTES,) * 3)
    return key


def age(key: dict, seconds: float) -> None:
    """As if it had been used for the last time then."""
    os.utime(snapshot._place(key).path, (seconds, seconds))


def names() -> set[str]:
    return {data_set.known()["key"]["name"] for data_set in open_data_sets().entries()}


def left(cache) -> list[Path]:
    return [path for path in (cache / "taken").iterdir() if path.name != "locks"]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_GB", "1")
    share = open_data_sets().limit / 1e9
    monkeypatch.setenv("TRANSFER_CACHE_GB", str(ROOM_FOR_TWO / share / 1e9))


@contextmanager
def another(does: str, key: dict = KEY):
    """Another process that reads these images, or takes them, until it is killed."""
    command = [sys.executable, "-c", ANOTHER, does, json.dumps(key)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=TOP, **pipes) as process:
        try:
            assert process.stdout.readline() == "at it\n"
            yield process
        finally:
            process.kill()


def test_what_was_kept_is_found_again():
    keep()
    images = snapshot.find(KEY)
    split = images.splits["train"]
    assert [split.read(i) for i in range(3)] == [b"one", b"", b"three"]
    assert split.labels.tolist() == [1, 0, 1] and split.labels.dtype == np.int64
    assert split.names == ("picture 0", "picture 1", "picture 2")
    assert images.problems == (DataIssue(where="here", why="so"),)
    assert (images.source, images.revision, images.classes) == ("hub:user/name", "abc", ("x", "y"))
    assert (images.image_column, images.label_column) == ("image", "label")


@pytest.mark.parametrize("field", KEY)
def test_another_key_finds_nothing(field):
    keep()
    assert snapshot.find(KEY | {field: "other"}) is None


def test_only_its_owner_may_look(cache):
    cache.mkdir(mode=0o755)
    (cache / "taken").mkdir(mode=0o755)
    keep()
    files = [path for path in (cache / "taken").rglob("*.*") if path.suffix != ".lock"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    folders = [cache / "taken", *(cache / "taken").iterdir()]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_a_split_that_is_not_used_leaves_no_file(cache):
    keep()
    assert not list((cache / "taken").rglob("test.bin"))


def test_what_ends_early_is_not_found(cache):
    with pytest.raises(ZeroDivisionError), snapshot.keeping(KEY) as folder:
        with snapshot.split_file(folder, "train") as train:
            train.add("one", b"one")
        raise ZeroDivisionError
    assert snapshot.find(KEY) is None
    assert not left(cache)


def test_whoever_is_second_leaves_the_first_ones_images():
    with snapshot.keeping(KEY) as folder:
        (folder / "late").write_bytes(b"")
        keep()
    assert snapshot.find(KEY).splits["train"].read(0) == b"one"


def test_a_record_that_is_cut_off_is_made_again(cache):
    keep()
    record = next((cache / "taken").rglob(RECORD))
    record.write_bytes(record.read_bytes()[:40])
    assert snapshot.find(KEY) is None
    keep()
    assert snapshot.find(KEY) is not None


def test_images_that_went_meanwhile_are_told(cache):
    keep()
    images = snapshot.find(KEY)
    next((cache / "taken").rglob("train.bin")).unlink()
    with pytest.raises(ImageError, match="open the data set again"):
        images.splits["train"].read(0)


def test_the_newest_open_taking_is_found_by_name(cache):
    keep(KEY | {"revision": "old"})
    for record in (cache / "taken").rglob(RECORD):
        os.utime(record, (1, 1))
    keep(KEY | {"revision": "new"})
    assert snapshot.find(KEY | {"revision": "old"})  # used later, but taken before
    for name in ("user/name", "name"):
        assert snapshot.find_public(name, WISH).revision == "new"
    assert snapshot.find_public("ame", WISH) is None
    assert snapshot.find_public("user/other", WISH) is None
    assert snapshot.find_public("user/name", WISH | {"limit_per_class": 3}) is None


def test_a_closed_taking_is_not_found_by_name():
    keep(KEY | {"closed": True})
    assert snapshot.find_public("user/name", WISH) is None


def test_a_taking_that_has_not_ended_is_not_found_by_name(cache):
    keep()
    with snapshot.keeping(KEY | {"name": "user/other"}) as folder:
        shutil.copy(next((cache / "taken").rglob(RECORD)), folder)
        shutil.rmtree(snapshot._place(KEY).path)
        assert snapshot.find_public("user/name", WISH) is None


def test_what_a_killed_training_left_goes_and_what_is_being_taken_stays(cache):
    with another("takes", KEY | {"name": "killed"}) as killed:
        killed.kill()
        killed.wait()
        assert [path.suffix for path in left(cache)] == [PART]
    with another("takes", KEY | {"name": "coming"}):
        keep()
        assert sorted(path.suffix for path in left(cache)) == ["", PART]


def test_the_images_least_recently_used_make_room_for_others(small):
    for seconds, name in enumerate("ab"):
        age(large(name), seconds)
    snapshot.find(KEY | {"name": "a"})
    large("c")
    assert names() == {"a", "c"}
    assert open_data_sets().bytes <= open_data_sets().limit


def test_images_that_somebody_reads_stay_and_others_go(small):
    for seconds, name in enumerate("ab"):
        age(large(name), seconds)
    split = snapshot.find(KEY | {"name": "a"}).splits["train"].take(np.array([2, 1]))
    age(KEY | {"name": "a"}, 0)
    large("c")
    assert names() == {"a", "c"}
    assert split.read(0) == b"x" * IMAGE_BYTES
    del split
    age(KEY | {"name": "a"}, 0)
    large("d")
    assert names() == {"c", "d"}


def test_images_larger_than_the_bound_are_told_and_leave_nothing(small, cache):
    with pytest.raises(CacheError, match=r"for more images .*all may take 1 MB"):
        keep(KEY, (b"x" * IMAGE_BYTES,) * 9)
    assert not left(cache)


def test_several_read_and_none_of_them_goes_before_the_last_ends():
    keep()
    with another("reads") as first, another("reads"):
        ours = snapshot.find(KEY)
        first.kill()
        first.wait()
        assert open_data_sets().clear() == (0, 1)
        del ours
        assert open_data_sets().clear() == (0, 1)
    assert open_data_sets().clear()[1] == 0
    assert snapshot.find(KEY) is None


def test_images_found_by_a_thread_stay_when_it_ends():
    keep()
    with ThreadPoolExecutor(1) as pool:
        images = pool.submit(snapshot.find, KEY).result()
    assert open_data_sets().clear() == (0, 1)
    assert images.splits["train"].read(0) == b"one"
    del images
    assert open_data_sets().clear()[1] == 0


def test_nobody_begins_to_read_while_they_are_removed(monkeypatch):
    keep()
    discard, late = DataSet.discard, []

    def discard_slowly(data_set):
        late.append(pool.submit(snapshot.find, KEY))
        time.sleep(0.3)
        discard(data_set)

    monkeypatch.setattr(DataSet, "discard", discard_slowly)
    with ThreadPoolExecutor(1) as pool:
        assert open_data_sets().clear()[1] == 0
        assert late[0].result() is None


def test_a_removal_that_is_killed_leaves_nothing_to_find(cache, monkeypatch):
    keep()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        assert open_data_sets().clear()[1] == 1
    assert len(left(cache)) == 1
    assert snapshot.find(KEY) is None
    assert not left(cache)


def test_they_are_described_for_people():
    keep()
    (kept_one,) = open_data_sets().entries()
    assert kept_one.described() == {
        "what": "3 images of hub:user/name at abc",
        "bytes": kept_one.bytes,
        "used": pytest.approx(time.time(), abs=60),
    }
    with snapshot.keeping(KEY | {"revision": "def"}):
        told = {data_set.described()["what"] for data_set in open_data_sets().entries()}
    assert "images of a dataset, not all of them yet" in told


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRANSFER_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="set TRANSFER_CACHE"):
        keep()
