import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest

from transfer.cache import store as module
from transfer.cache.paths import cache_folder
from transfer.cache.store import CacheEntry, Store, open_store
from transfer.errors import TransferError

KEY = {
    "source": "photos",
    "split": "train",
    "transform": {"image_size": 32, "mean": (0.5, 0.4, 0.3)},
    "cut": "block5",
}
SHAPE = (2, 10, 3, 2)
SIZE = int(np.prod(SHAPE))
NUMBERS = np.arange(SIZE, dtype=np.uint8).reshape(SHAPE)

LOCKER = """
import sys
from filelock import FileLock

with FileLock(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store() -> Store:
    return open_store()


def filled(store: Store, key: dict = KEY, unreadable=None, used: float | None = None) -> CacheEntry:
    """A complete entry, last used at `used` seconds."""
    entry = store.entry(key, SHAPE, "uint8")
    entry.start()
    entry.write(0, NUMBERS, unreadable or {})
    entry.save(SHAPE[1])
    if used is not None:
        for path in entry.path.iterdir():
            os.utime(path, (used, used))
    return entry


def on_disk(entry: CacheEntry) -> np.ndarray:
    return np.fromfile(entry.path / "data.bin", np.uint8).reshape(entry.shape)


def refusal(call, *args) -> str:
    with pytest.raises(TransferError) as caught:
        call(*args)
    assert "\n" not in str(caught.value) and "/tmp" not in str(caught.value)
    return str(caught.value)


@contextmanager
def locked_by_another_process(entry: CacheEntry):
    command = [sys.executable, "-c", LOCKER, entry.lock.lock_file]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout.readline() == "locked\n"
        try:
            yield other
        finally:
            other.kill()


def disk(monkeypatch, free: int) -> None:
    usage = shutil._ntuple_diskusage(10**15, 0, free)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)


def limit(monkeypatch, size: int) -> None:
    monkeypatch.setenv("TRANSFER_CACHE_GB", str((size + 0.5) / 1e9))


def test_the_cache_folder(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRANSFER_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("TRANSFER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "transfer-vgg16"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "transfer-vgg16"


def test_the_cache_is_private_and_one_that_cannot_be_made_is_one_sentence(cache):
    assert open_store().folder == cache / "features"
    (cache / "features").chmod(0o755)
    assert open_store().folder.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(cache)
    cache.write_text("a file")
    message = refusal(open_store)
    assert "'cache'" in message and "TRANSFER_CACHE" in message


def test_an_entry_is_complete_once_all_rows_are_saved(store):
    entry = store.entry(KEY, SHAPE, "uint8")
    assert not entry.complete and entry.bytes == 0
    entry.start()
    entry.write(7, NUMBERS[:, 7:], {9: "damaged"})
    other_process = store.entry(KEY, SHAPE, "uint8")
    other_process.write(0, np.asfortranarray(NUMBERS[:, :7]), {1: "damaged"})
    assert entry.rows == 0 and entry.unreadable() == {}
    entry.save(7)
    assert entry.rows == 7 and not entry.complete
    assert store.entries()[0].description.startswith("incomplete")
    entry.save(10)
    found = store.entry(dict(reversed(KEY.items())), SHAPE, "uint8")
    assert found.complete and np.array_equal(on_disk(found), NUMBERS)
    assert found.unreadable() == {1: "damaged", 9: "damaged"}


def test_an_entry_is_found_only_by_its_key_shape_and_dtype(store):
    filled(store)
    assert not store.entry(KEY | {"cut": "block4"}, SHAPE, "uint8").complete
    assert not store.entry(KEY, (2, 5, 3, 4), "uint8").complete
    assert not store.entry(KEY, (1, 10, 3, 1), "float16").complete


@pytest.mark.parametrize("damage", ["key", "no json", "short", "gone"])
def test_a_damaged_entry_is_not_complete_and_filled_again(store, damage):
    entry = filled(store, unreadable={0: "damaged"})
    record = entry.path / "entry.json"
    if damage == "no json":
        record.write_text(record.read_text()[:-5])
    elif damage == "short":
        os.truncate(entry.path / "data.bin", entry.full_bytes - 1)
    elif damage == "gone":
        (entry.path / "data.bin").unlink()
    else:
        record.write_text(json.dumps(json.loads(record.read_text()) | {"key": None}))
    assert not store.entry(KEY, SHAPE, "uint8").complete
    entry.start()
    assert not entry.complete and not on_disk(entry).any()
    assert filled(store).complete and filled(store).unreadable() == {}


def test_the_least_recently_used_entries_are_removed_first(store, monkeypatch):
    entries = [filled(store, {"number": number}, used=1000 - number) for number in range(4)]
    entries[3].touch()
    assert time.time() - entries[3].used < 60
    limit(monkeypatch, 4 * SIZE)
    store.make_room(0)
    assert all(entry.complete for entry in entries)
    store.make_room(SIZE + 1, keep=(store.entry({"number": 2}, SHAPE, "uint8"),))
    assert [entry.complete for entry in entries] == [False, False, True, True]
    assert not entries[0].path.exists()


def test_an_entry_in_use_is_neither_evicted_nor_cleared_until_its_process_dies(store, monkeypatch):
    old, new = filled(store, {"number": 0}, used=1000), filled(store, {"number": 1}, used=2000)
    limit(monkeypatch, 2 * SIZE)
    with locked_by_another_process(old) as other:
        assert old.locked and not new.locked
        store.make_room(1)
        assert old.complete and not new.path.exists()
        assert store.clear() == (0, 1)
        assert store.room_for() == SIZE, "what is in use stays"
        filled(store, {"number": 1}, used=2000)
        assert f"found {SIZE} bytes" in refusal(store.make_room, 2 * SIZE)
        assert new.complete, "removing it would not have made room"
        other.kill()
        other.wait()
        assert store.clear() == (2 * SIZE, 0)
    assert store.entries() == [] and store.bytes == 0


def test_nothing_is_removed_where_that_would_not_make_room(store, monkeypatch):
    entry = filled(store)
    disk(monkeypatch, 10**12)
    limit(monkeypatch, 10**9)
    message = refusal(store.make_room, 3 * 10**9)
    for words in ("3 GB", "found 1 GB", "TRANSFER_CACHE_GB", "--limit-per-class"):
        assert words in message
    limit(monkeypatch, 10**12)
    disk(monkeypatch, 2 * 10**9)
    assert "found 2 GB" in refusal(store.make_room, 2 * 10**9 + SIZE + 1)
    assert entry.complete


def test_room_is_where_entries_are_and_what_others_leave(store, monkeypatch):
    own, other = filled(store, {"number": 0}), filled(store, {"number": 1})
    limit(monkeypatch, 10 * SIZE)
    assert store.room_for() == store.room_for((own, other)) == 10 * SIZE
    disk(monkeypatch, 5)
    assert store.room_for((own,)) == 2 * SIZE + 5


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot")
def test_an_entry_takes_its_room_on_the_disk_when_it_is_started(store):
    entry = store.entry(KEY, (1, 1_000_000), "uint8")
    entry.start()
    assert (entry.path / "data.bin").stat().st_blocks * 512 >= 1_000_000


@pytest.mark.parametrize(
    ("free", "expected"), [(10**12, 20 * 10**9), (30 * 10**9, 15 * 10**9), (0, 60)]
)
def test_the_limit_leaves_half_of_the_disk(store, monkeypatch, free, expected):
    filled(store)
    disk(monkeypatch, free)
    assert store.limit == pytest.approx(expected, abs=60)


def test_the_limit_can_be_set(store, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_GB", "1.5")
    assert store.limit == 1_500_000_000 and Store(store.folder, share=0.5).limit == 750_000_000


@pytest.mark.parametrize("text", ["0", "nan", "1e300", "x" * 500])
def test_a_limit_that_is_no_number_is_one_sentence(store, monkeypatch, text):
    monkeypatch.setenv("TRANSFER_CACHE_GB", text)
    message = refusal(lambda: store.limit)
    assert "TRANSFER_CACHE_GB" in message and repr(text[:20]) in message
    assert len(message) < 120


def full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("step", "call"), [("start", "mkdir"), ("save", "write_text")])
def test_a_full_disk_is_one_sentence(store, monkeypatch, step, call):
    entry = store.entry(KEY, SHAPE, "uint8")
    if step == "save":
        entry.start()
        entry.write(0, NUMBERS, {})
    monkeypatch.setattr(module.Path, call, full)
    message = refusal(getattr(entry, step), *([10] if step == "save" else []))
    assert "No space left on device" in message and "TRANSFER_CACHE" in message
    assert not entry.complete


def test_a_disk_that_is_really_full_is_one_sentence(store):
    entry = store.entry(KEY, SHAPE, "uint8")
    entry.start()
    (entry.path / "data.bin").unlink()
    (entry.path / "data.bin").symlink_to("/dev/full")
    assert "No space left" in refusal(entry.write, 0, NUMBERS, {})


def test_numbers_reach_the_disk_before_the_entry_counts(store, monkeypatch):
    entry = store.entry(KEY, SHAPE, "uint8")
    entry.start()
    monkeypatch.setattr(module.os, "fsync", full)
    refusal(entry.save, 10)
    assert not entry.complete


def test_the_speed_of_the_disk_is_measured_and_nothing_of_it_stays(store, monkeypatch):
    monkeypatch.setattr(module, "SPEED_TEST_BYTES", 1000)
    before = list(store.folder.iterdir())
    assert store.bytes_a_second() > 0
    monkeypatch.setattr(module.os, "fsync", full)
    assert "No space left" in refusal(store.bytes_a_second)
    assert list(store.folder.iterdir()) == before


@pytest.mark.parametrize(
    ("cut", "what"), [("block5", "input of block5"), ("none", "features"), (None, "pixels")]
)
def test_an_entry_is_described_for_people(store, cut, what):
    key = KEY | {"cut": cut} if cut else {k: v for k, v in KEY.items() if k != "cut"}
    filled(store, key, used=1000)
    what += " of photos, train: 10 images, 2 views, 32 px, uint8"
    (entry,) = store.entries()
    assert (entry.description, entry.bytes, entry.used) == (what, SIZE, 1000)


def test_an_incomplete_entry_is_described_as_such_and_cleared(store):
    store.entry(KEY, SHAPE, "uint8").start()
    assert store.entries()[0].description.startswith("incomplete")
    assert store.clear() == (SIZE, 0)
