import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import transfer
from transfer.cache import store as module
from transfer.cache.paths import cache_folder
from transfer.cache.store import CacheEntry, Store, itemsize, open_store
from transfer.errors import CacheError

TOP = Path(transfer.__file__).parents[1]
KEY = {
    "source": "photos",
    "split": "train",
    "transform": {"image_size": 32, "mean": (0.5, 0.4, 0.3)},
    "cut": "block5",
}
SHAPE = (2, 10, 3, 2)
ROWS = list(range(SHAPE[1]))

LOCKER = """
import sys
from filelock import FileLock

with FileLock(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""

FILLER = """
import sys
import time
import numpy as np
from transfer.cache import store

store.SECONDS_BETWEEN_FLUSHES = 0
entry = store.open_store().entry({"name": "killed"}, (2, 100_000, 64), "uint8")
with entry.lock:
    entry.start()
    for row in range(0, 100_000, 8):
        rows = list(range(row, row + 8))
        values = np.broadcast_to(np.array(rows)[:, None] % 251 + 1, (2, 8, 64))
        entry.write(rows, values.astype(np.uint8), {row: "damaged"})
        print(row + 8, flush=True)
"""


@pytest.fixture
def store() -> Store:
    return open_store()


def numbers(shape=SHAPE, dtype=np.uint8) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def filled(store: Store, key: dict = KEY, shape=SHAPE, bad=None, used: float | None = None):
    """A whole entry, last used at `used` seconds."""
    entry = store.entry(key, shape, "uint8")
    entry.start()
    entry.write(list(range(shape[1])), numbers(shape), bad or {})
    entry.flush()
    entry.finish()
    if used is not None:
        for path in entry.path.iterdir():
            os.utime(path, (used, used))
    return entry


def on_disk(entry: CacheEntry) -> np.ndarray:
    return np.fromfile(entry.path / "data.bin", np.uint8).reshape(entry.shape)


def standing(entry: CacheEntry) -> list[int]:
    return np.flatnonzero(entry.done()[0]).tolist()


def refusal(call, *args) -> str:
    with pytest.raises(CacheError) as caught:
        call(*args)
    assert "\n" not in str(caught.value) and "/tmp" not in str(caught.value)
    return str(caught.value)


@contextmanager
def held_by_another(entry: CacheEntry):
    """Another process that holds the entry's lock until it is killed."""
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
    monkeypatch.setenv("TRANSFER_CACHE_GB", str(size / 1e9))


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


def test_nobody_else_may_read_the_store(cache):
    assert open_store().folder == cache / "features"
    assert (cache / "features").stat().st_mode & 0o777 == 0o700
    (cache / "features").chmod(0o755)
    assert open_store().folder.stat().st_mode & 0o777 == 0o700


def test_a_cache_folder_that_cannot_be_is_told(cache):
    cache.write_text("a file")
    message = refusal(open_store)
    assert "'cache'" in message and "TRANSFER_CACHE" in message


def test_an_entry_is_found_only_when_every_row_is_there(store):
    entry = store.entry(KEY, SHAPE, "uint8")
    assert not entry.whole and entry.bytes == 0
    entry.start()
    assert not entry.whole
    entry.write(ROWS[:9], numbers()[:, :9], {})
    entry.flush()
    entry.finish()
    assert not entry.whole
    entry.write(ROWS[9:], numbers()[:, 9:], {})
    entry.flush()
    assert not entry.whole
    entry.finish()
    assert entry.whole
    assert np.array_equal(on_disk(entry), numbers())


def test_an_entry_is_found_by_its_very_key_shape_and_dtype(store):
    filled(store)
    assert store.entry(dict(reversed(KEY.items())), SHAPE, "uint8").whole
    assert not store.entry(KEY | {"cut": "block4"}, SHAPE, "uint8").whole
    assert not store.entry(KEY, (2, 5, 3, 4), "uint8").whole
    assert not store.entry(KEY, (1, 5, 3, 2), "float16").whole
    assert not store.entry(KEY, (1, 5, 3, 4), "int8").whole


@pytest.mark.parametrize("damage", ["key", "shape", "dtype", "no json", "short", "gone"])
def test_a_damaged_entry_is_not_found(store, damage):
    entry = filled(store)
    told = entry.path / "whole.json"
    known = json.loads(told.read_text())
    if damage == "no json":
        told.write_text(told.read_text()[:-5])
    elif damage == "short":
        os.truncate(entry.path / "data.bin", entry.full_bytes - 1)
    elif damage == "gone":
        (entry.path / "data.bin").unlink()
    else:
        told.write_text(json.dumps(known | {damage: None}))
    assert not store.entry(KEY, SHAPE, "uint8").whole


def test_rows_that_are_forgotten_are_written_once_more(store):
    entry = filled(store, bad={0: "damaged", 1: "a web page"})
    entry.forget([1])
    assert not entry.whole and standing(entry) == [0, *range(2, SHAPE[1])]
    assert entry.bad_rows() == {0: "damaged"}
    entry.start()
    entry.write([1], numbers()[:, 1:2], {})
    entry.flush()
    entry.finish()
    assert entry.whole and entry.bad_rows() == {0: "damaged"}
    assert np.array_equal(on_disk(entry), numbers())


def test_rows_are_written_in_any_order_and_in_runs(store):
    entry = store.entry(KEY, SHAPE, "uint8")
    entry.start()
    for rows in ([7, 8, 2, 0, 1], [9], [6, 5, 4, 3]):
        entry.write(rows, numbers()[:, rows], {})
    entry.flush()
    assert np.array_equal(on_disk(entry), numbers())
    assert entry.done()[0].all()


@pytest.mark.parametrize(
    ("rows", "runs"),
    [
        ([3], [(0, 1)]),
        ([0, 1, 2], [(0, 3)]),
        ([5, 6, 2, 3, 9], [(0, 2), (2, 4), (4, 5)]),
        ([3, 2], [(0, 1), (1, 2)]),
    ],
)
def test_rows_that_follow_each_other_are_written_at_once(rows, runs):
    assert list(module._runs(rows)) == runs


def test_values_that_do_not_lie_in_order_are_written_as_they_are(store):
    entry = store.entry(KEY, SHAPE, "uint8")
    entry.start()
    turned = np.asfortranarray(numbers())
    entry.write(ROWS, turned, {})
    assert np.array_equal(on_disk(entry), numbers())


def test_a_row_counts_only_once_it_was_flushed(store, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_FLUSHES", 1e9)
    entry = store.entry(KEY, SHAPE, "uint8")
    entry.start()
    entry.write([4, 5], numbers()[:, 4:6], {5: "damaged"})
    assert standing(entry) == [] and standing(store.entry(KEY, SHAPE, "uint8")) == []
    entry.flush()
    assert standing(store.entry(KEY, SHAPE, "uint8")) == [4, 5]
    assert entry.done()[1] == {5: "damaged"}
    entry.flush()
    assert (entry.path / "done.jsonl").read_text().count("rows") == 1


def test_bytes_are_on_the_disk_before_their_rows_count(store, monkeypatch):
    entry = store.entry(KEY, SHAPE, "uint8")
    entry.start()

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module.os, "fsync", fail)
    assert "Input/output error" in refusal(entry.write, [0], numbers()[:, :1], {})
    assert standing(entry) == []


def test_rows_are_flushed_now_and_then(store, monkeypatch):
    entry = store.entry(KEY, SHAPE, "uint8")
    entry.start()
    for now, row, done in [(100.0, 0, [0]), (100.5, 1, [0]), (101.5, 2, [0, 1, 2])]:
        monkeypatch.setattr(module.time, "monotonic", lambda now=now: now)
        entry.write([row], numbers()[:, [row]], {})
        assert standing(entry) == done


@pytest.mark.parametrize("cut", [1, 4, 25])
def test_a_line_that_was_cut_counts_for_nothing_and_harms_no_other(store, cut):
    entry = store.entry(KEY, SHAPE, "uint8")
    entry.start()
    for row in (0, 1):
        entry.write([row], numbers()[:, [row]], {row: "damaged"})
        entry.flush()
    log = entry.path / "done.jsonl"
    os.truncate(log, log.stat().st_size - cut)
    again = store.entry(KEY, SHAPE, "uint8")
    again.start()
    assert standing(again) == [0]
    again.write([1, 2], numbers()[:, 1:3], {2: "a web page"})
    again.flush()
    assert standing(again) == [0, 1, 2]
    again.write(ROWS[3:], numbers()[:, 3:], {})
    again.flush()
    again.finish()
    assert again.whole
    assert again.bad_rows() == {0: "damaged", 2: "a web page"}


def test_rows_of_a_file_of_another_size_do_not_count(store):
    entry = filled(store)
    larger = CacheEntry(path=entry.path, key=KEY, shape=(2, 12, 3, 2))
    assert standing(larger) == []
    larger.start()
    assert standing(larger) == [] and larger.bytes == larger.full_bytes
    assert not (larger.path / "whole.json").exists()


def test_what_a_killed_process_wrote_is_gone_on_from(store, cache):
    command = [sys.executable, "-c", FILLER]
    environment = os.environ | {"TRANSFER_CACHE": str(cache), "PYTHONPATH": str(TOP)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as filler:
        for _ in range(20):
            told = int(filler.stdout.readline())
        filler.kill()
        told = max([told, *map(int, filler.stdout.read().splitlines())])
    entry = store.entry({"name": "killed"}, (2, 100_000, 64), "uint8")
    with entry.lock.acquire(timeout=5):
        entry.start()
        done, bad = entry.done()
        assert done[:told].all() and not done[told + 8 :].any()
        assert set(range(0, told, 8)) <= bad.keys()
        wanted = np.arange(100_000)[:, None] % 251 + 1
        assert (on_disk(entry)[:, done] == wanted[done]).all()
        left = np.flatnonzero(~done)
        entry.write(
            left.tolist(), np.broadcast_to(wanted[left], (2, len(left), 64)).astype("u1"), {}
        )
        entry.flush()
        entry.finish()
    assert entry.whole and (on_disk(entry) == wanted).all()
    assert entry.bad_rows() == bad


def test_what_was_used_least_recently_goes_first(store, monkeypatch):
    size = np.prod(SHAPE)
    kept = [filled(store, {"number": number}, used=1000 - number) for number in range(4)]
    assert [entry.path for entry in store.entries()] == [entry.path for entry in reversed(kept)]
    limit(monkeypatch, 4 * size)
    store.make_room(0)
    assert all(entry.whole for entry in kept)
    store.make_room(size + 1)
    assert [entry.whole for entry in kept] == [True, True, False, False]
    assert not kept[3].path.exists()


def test_what_is_used_again_stays_longer(store, monkeypatch):
    old, new = filled(store, {"number": 0}, used=1000), filled(store, {"number": 1}, used=2000)
    old.touch()
    assert time.time() - old.used < 60
    limit(monkeypatch, 2 * old.bytes)
    store.make_room(1)
    assert old.whole and not new.whole


def test_what_is_to_be_kept_stays(store, monkeypatch):
    old, new = filled(store, {"number": 0}, used=1000), filled(store, {"number": 1}, used=2000)
    limit(monkeypatch, 2 * old.bytes)
    store.make_room(1, keep=(store.entry({"number": 0}, SHAPE, "uint8"),))
    assert old.whole and not new.whole


def test_what_another_process_fills_is_neither_evicted_nor_cleared(store, monkeypatch):
    old, new = filled(store, {"number": 0}, used=1000), filled(store, {"number": 1}, used=2000)
    limit(monkeypatch, 2 * old.bytes)
    with held_by_another(old):
        store.make_room(1)
        assert old.whole and not new.path.exists()
        assert store.clear() == (0, 1)
        assert "found 0.0 GB" in refusal(store.make_room, 2 * old.bytes)
        assert old.whole
    assert store.clear() == (np.prod(SHAPE), 0)
    assert not old.path.exists()


def test_a_killed_process_lets_go_of_its_entry(store):
    entry = filled(store)
    with held_by_another(entry) as other:
        assert not entry.remove()
        other.kill()
        other.wait()
        assert entry.remove()
    assert store.entries() == []


def test_no_room_is_told_before_anything_is_written(store, monkeypatch):
    entry = filled(store)
    disk(monkeypatch, 10**12)
    limit(monkeypatch, 10**9)
    message = refusal(store.make_room, 3 * 10**9, (entry,))
    for words in ("3.0 GB", "found 1.0 GB", "TRANSFER_CACHE_GB", "--limit-per-class"):
        assert words in message
    assert entry.whole


def test_no_more_room_than_the_disk_has(store, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_GB", "1000")
    disk(monkeypatch, 2 * 10**9)
    store.make_room(2 * 10**9)
    assert "found 2.0 GB" in refusal(store.make_room, 2 * 10**9 + 1)


@pytest.mark.parametrize(
    ("free", "bytes_"), [(10**12, 20 * 10**9), (30 * 10**9, 15 * 10**9), (0, 60)]
)
def test_the_limit_leaves_half_of_the_disk(store, monkeypatch, free, bytes_):
    filled(store, shape=(1, 10, 12))
    assert store.bytes == 120
    disk(monkeypatch, free)
    assert store.limit == pytest.approx(bytes_, abs=60)
    assert isinstance(store.limit, int)


def test_the_limit_can_be_set(store, monkeypatch):
    monkeypatch.setenv("TRANSFER_CACHE_GB", "1.5")
    assert store.limit == 1_500_000_000 and isinstance(store.limit, int)


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan", "inf", "1e300", "x" * 500])
def test_a_limit_that_is_none_is_told(store, monkeypatch, text):
    monkeypatch.setenv("TRANSFER_CACHE_GB", text)
    message = refusal(lambda: store.limit)
    assert "TRANSFER_CACHE_GB" in message and repr(text[:20]) in message
    assert len(message) < 120


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_when_the_file_is_made(store, monkeypatch):
    entry = store.entry(KEY, SHAPE, "uint8")
    monkeypatch.setattr(module.Path, "mkdir", full)
    message = refusal(entry.start)
    assert "No space left on device" in message and "TRANSFER_CACHE" in message


@pytest.mark.parametrize("step", ["write", "flush", "finish"])
def test_a_full_disk_is_told_while_it_is_filled(store, monkeypatch, step):
    entry = store.entry(KEY, SHAPE, "uint8")
    entry.start()
    args = (ROWS, numbers(), {})
    if step != "write":
        entry.write(*args)
        entry.flush()
    monkeypatch.setattr(module.Path, "write_text" if step == "finish" else "open", full)
    message = refusal(getattr(entry, step), *(args if step == "write" else ()))
    assert "No space left on device" in message
    monkeypatch.undo()
    assert standing(entry) == ([] if step == "write" else ROWS)
    assert not entry.whole


def test_a_disk_that_is_full_in_earnest_is_told(store):
    entry = store.entry(KEY, SHAPE, "uint8")
    entry.start()
    (entry.path / "data.bin").unlink()
    (entry.path / "data.bin").symlink_to("/dev/full")
    assert "No space left" in refusal(entry.write, ROWS, numbers(), {})
    assert standing(entry) == []


def test_clearing_removes_everything_and_says_how_much(store):
    assert store.clear() == (0, 0)
    filled(store, {"number": 0})
    unfinished = store.entry({"number": 1}, SHAPE, "uint8")
    unfinished.start()
    assert store.bytes == 2 * np.prod(SHAPE)
    assert store.clear() == (2 * np.prod(SHAPE), 0)
    assert store.entries() == [] and store.bytes == 0
    assert filled(store, {"number": 0}).whole


@pytest.mark.parametrize(
    ("key", "what"),
    [
        (KEY, "what enters block5 of photos, train: 10 images, 2 views, 32 px, uint8"),
        (KEY | {"cut": "none"}, "features of photos, train: 10 images, 2 views, 32 px, uint8"),
        (
            {name: value for name, value in KEY.items() if name != "cut"},
            "pixels of photos, train: 10 images, 2 views, 32 px, uint8",
        ),
    ],
)
def test_an_entry_is_described_for_people(store, key, what):
    filled(store, key, used=1000)
    described = store.entries()[0].described()
    assert described == {"what": what, "bytes": np.prod(SHAPE), "used": 1000}


def test_an_unfinished_entry_is_described_as_such(store):
    store.entry(KEY, SHAPE, "uint8").start()
    described = store.entries()[0].described()
    assert described["what"].startswith("unfinished") and described["bytes"] == np.prod(SHAPE)


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float16", "float32"])
def test_bytes_a_value_are_torch_s(dtype):
    assert itemsize(dtype) == getattr(torch, dtype).itemsize
