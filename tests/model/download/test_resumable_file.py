import errno
import hashlib
import json

import pytest

from transfer.errors import CacheError
from transfer.model.download.resumable_file import PartFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.part"


def note(path):
    return path.with_name("x.part.json")


def test_what_was_written_is_there_under_its_name_and_hash(path, tmp_path):
    with PartFile(path, b"head") as part:
        part.write(b"one")
        assert (part.come, part.bytes) == (3, 7)
        part.finish(tmp_path / "done")
    assert (tmp_path / "done").read_bytes() == b"headone"
    assert part.sha256 == hashlib.sha256(b"headone").hexdigest()
    assert [file.name for file in tmp_path.iterdir()] == ["done"]


def test_whoever_breaks_off_leaves_what_has_come(path, tmp_path):
    with pytest.raises(KeyboardInterrupt), PartFile(path, b"head") as part:
        part.write(b"one")
        raise KeyboardInterrupt
    with PartFile(path, b"head") as part:
        assert part.come == 3
        part.write(b"two")
        part.finish(tmp_path / "done")
    assert (tmp_path / "done").read_bytes() == b"headonetwo"


def test_what_was_not_saved_before_a_kill_is_written_again(path):
    with PartFile(path, b"head") as part:
        part.write(b"one")
    with path.open("ab") as file:
        file.write(b"tw")
    with PartFile(path, b"head") as part:
        assert part.come == 3
        assert path.stat().st_size == 7


@pytest.mark.parametrize("damage", ["head", "data", "short", "note", "number", "no note", "gone"])
def test_a_file_that_is_not_what_its_note_says_begins_anew(path, damage):
    with PartFile(path, b"head") as part:
        part.write(b"one")
    if damage in ("head", "data"):
        path.write_bytes(b"Headone" if damage == "head" else b"headoNe")
    elif damage == "short":
        path.write_bytes(b"headon")
    elif damage == "note":
        note(path).write_text("[]")
    elif damage == "number":
        note(path).write_text(json.dumps({"bytes": 2, "sha256": "x"}))
    else:
        (note(path) if damage == "no note" else path).unlink()
    with PartFile(path, b"head") as part:
        assert part.come == 0
        part.write(b"new")
    assert path.read_bytes() == b"headnew"


def test_another_beginning_begins_anew(path):
    with PartFile(path, b"head") as part:
        part.write(b"one")
    with PartFile(path, b"tail") as part:
        assert part.come == 0
    assert path.read_bytes() == b"tail"


def test_a_full_disk_is_told(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CacheError, match="No space left"), PartFile(path, b"head") as part:
        monkeypatch.setattr("transfer.model.download.resumable_file.os.fsync", full)
        part.save()


def test_a_folder_that_is_gone_is_told(path):
    with pytest.raises(CacheError, match="TRANSFER_CACHE"), PartFile(path.parent / "no" / "x", b""):
        pass
