import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import transfer
from transfer.cache.downloads import PART, open_datasets
from transfer.cache.store import RECORD
from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.remote import snapshot
from transfer.errors import CacheError, ImageError

TOP = Path(transfer.__file__).parents[1]
OPTIONS = {"config": None, "limit_per_class": 2}
KEY = {"name": "user/name", "revision": "abc", "closed": False} | OPTIONS
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
    writer = snapshot.writing(key)
    writer.__enter__()
print("ready", flush=True)
sys.stdin.read()
"""


def save(key: dict = KEY, pictures: tuple[bytes, ...] = (b"one", b"", b"three")) -> None:
    with snapshot.writing(key) as writer:
        writer.splits = {"train": snapshot.SavedSplit(), "test": snapshot.SavedSplit()}
        writer.add("test", 0, "hidden", b"hidden")
        for number, data in enumerate(pictures):
            writer.add("train", number % 2, f"picture {number}", data)
        images = ImageDataset(
            source=f"hub:{key['name']}",
            revision=key["revision"],
            classes=("x", "y"),
            splits={},
            image_column="image",
            label_column="label",
            problems=(DataIssue(where="here", why="so"),),
        )
        writer.finish(images, {"train": np.arange(len(pictures)) % 2})


def large(name: str) -> dict:
    """Save three images under this name; returns the key."""
    key = KEY | {"name": name}
    save(key, (b"x" * IMAGE_BYTES,) * 3)
    return key


def age(key: dict, seconds: float) -> None:
    """As if it had been used last at that time."""
    os.utime(snapshot._place(key).path, (seconds, seconds))


def names() -> set[str]:
    return {dataset.record()["key"]["name"] for dataset in open_datasets().entries()}


def left(cache) -> list[Path]:
    return [path for path in (cache / "datasets").iterdir() if path.name != "locks"]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_GB", "1")
    share = open_datasets().limit / 1e9
    monkeypatch.setenv("TRANSFER_CACHE_GB", str(ROOM_FOR_TWO / share / 1e9))


@contextmanager
def another(does: str, key: dict = KEY):
    """Another process that reads this snapshot, or writes it, until it is killed."""
    command = [sys.executable, "-c", ANOTHER, does, json.dumps(key)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=TOP, **pipes) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_a_snapshot_is_found_by_its_key_alone(cache):
    cache.mkdir(mode=0o755)
    (cache / "datasets").mkdir(mode=0o755)
    save()
    images = snapshot.find(KEY)
    split = images.splits["train"]
    assert [split.read(i) for i in range(3)] == [b"one", b"", b"three"]
    assert split.labels.tolist() == [0, 1, 0] and split.labels.dtype == np.int64
    assert split.names == ("picture 0", "picture 1", "picture 2")
    assert images.problems == (DataIssue(where="here", why="so"),)
    assert (images.source, images.revision, images.classes) == ("hub:user/name", "abc", ("x", "y"))
    assert (images.image_column, images.label_column) == ("image", "label")
    assert list(images.splits) == ["train"]
    for field in KEY:
        assert snapshot.find(KEY | {field: "other"}) is None
    files = [path for path in (cache / "datasets").rglob("*.*") if path.suffix != ".lock"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    folders = [cache / "datasets", *(cache / "datasets").iterdir()]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_the_first_of_two_writers_wins():
    with snapshot.writing(KEY):
        save()
    assert snapshot.find(KEY).splits["train"].read(0) == b"one"


def test_damaged_snapshots_are_replaced_and_missing_files_reported(cache):
    save()
    record = next((cache / "datasets").rglob(RECORD))
    record.write_bytes(record.read_bytes()[:40])
    assert snapshot.find(KEY) is None
    save()
    images = snapshot.find(KEY)
    next((cache / "datasets").rglob("images.bin")).unlink()
    with pytest.raises(ImageError, match="open the dataset again"):
        images.splits["train"].read(0)


def test_the_newest_public_snapshot_is_found_by_name(cache):
    save(KEY | {"revision": "old"})
    for record in (cache / "datasets").rglob(RECORD):
        os.utime(record, (1, 1))
    save(KEY | {"revision": "new"})
    assert snapshot.find(KEY | {"revision": "old"})  # used later, but written earlier
    for name in ("user/name", "name"):
        assert snapshot.find_public(name, OPTIONS).revision == "new"
    assert snapshot.find_public("ame", OPTIONS) is None
    assert snapshot.find_public("user/name", OPTIONS | {"limit_per_class": 3}) is None
    save(KEY | {"name": "user/secret", "closed": True})
    assert snapshot.find_public("user/secret", OPTIONS) is None


def test_what_a_killed_process_left_is_removed_but_not_what_is_being_written(cache):
    with another("writes", KEY | {"name": "killed"}) as killed:
        killed.kill()
        killed.wait()
        assert [path.suffix for path in left(cache)] == [PART]
    with another("writes", KEY | {"name": "alive"}):
        save()
        assert sorted(path.suffix for path in left(cache)) == ["", PART]


def test_snapshots_that_are_read_stay_and_the_least_recently_used_goes(small):
    for seconds, name in enumerate("ab"):
        age(large(name), seconds)
    split = snapshot.find(KEY | {"name": "a"}).splits["train"].take(np.array([2, 1]))
    age(KEY | {"name": "a"}, 0)
    large("c")
    assert names() == {"a", "c"}
    assert open_datasets().bytes <= open_datasets().limit
    assert split.read(0) == b"x" * IMAGE_BYTES
    del split
    age(KEY | {"name": "a"}, 0)
    large("d")
    assert names() == {"c", "d"}


def test_images_larger_than_the_limit_are_refused_and_leave_nothing(small, cache):
    with pytest.raises(CacheError, match="all may take 750 kB"):
        save(KEY, (b"x" * IMAGE_BYTES,) * 9)
    assert not left(cache)


def test_a_snapshot_stays_until_its_last_reader_ends():
    save()
    with another("reads") as other:
        with ThreadPoolExecutor(1) as pool:
            ours = pool.submit(snapshot.find, KEY).result()
        other.kill()
        other.wait()
        assert open_datasets().clear() == (0, 1)
        assert ours.splits["train"].read(0) == b"one"
        del ours
    assert open_datasets().clear()[1] == 0
    assert snapshot.find(KEY) is None
