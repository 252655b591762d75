import zipfile
from dataclasses import replace

import pytest

from tests.hub_datasets import picture
from tests.waiting import wait_for
from transfer.data import limits
from transfer.data.limits import LIMITS
from transfer.data.remote import files as module
from transfer.data.remote.files import DatasetFiles, HubFiles
from transfer.errors import ImageError

HUB = HubFiles(
    root="hf://datasets/user/name@abc/", repository="user/name", revision="abc", token="hf_secret"
)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "http://169.254.169.254/secret",
        "hf://datasets/user/name@def/1.png",
        "hf://datasets/user/name2@abc/1.png",
        "hf://datasets/user/name@abc/../../other/name@abc/1.png",
        "zip://1.png::/home/somebody/photos.zip",
        "http://elsewhere/x::hf://datasets/user/name@abc/train.zip",
        "hf://datasets/user/name@abc/train.zip::/etc/passwd",
        "zip://1.png::zip://a.zip::hf://datasets/user/name@abc/train.zip",
    ],
)
def test_what_is_not_in_the_dataset_is_never_opened(path):
    assert HUB.name({"path": path}) is HUB.folder({"path": path}) is None
    with pytest.raises(ImageError, match="not in the dataset") as caught:
        HUB.read({"bytes": None, "path": path})
    assert "passwd" not in str(caught.value)


def test_a_local_file_outside_the_dataset_is_not_opened(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "mine.png").write_bytes(picture(1))
    files = DatasetFiles(root=f"{tmp_path}/set/")
    for path in (f"{tmp_path}/mine.png", f"{tmp_path}/set/../mine.png"):
        with pytest.raises(ImageError, match="its file is not in the dataset"):
            files.read({"bytes": None, "path": path})


def test_junk_has_no_folder_that_could_be_a_class():
    folders = [HUB.folder({"path": f"{HUB.root}train/{name}/1.png"}) for name in ("cat", "@eaDir")]
    assert folders == ["cat", None]


def test_cells_are_bytes_files_or_files_in_archives(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(picture(1))
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("b/2.png", picture(2))
    (tmp_path / "damaged.zip").write_bytes(b"nothing")
    files = DatasetFiles(root=f"{tmp_path}/")
    assert files.read({"bytes": b"here", "path": "/etc/passwd"}) == files.read(b"here") == b"here"
    assert files.read({"bytes": None, "path": f"{tmp_path}/a/1.png"}) == picture(1)
    inside = {"bytes": None, "path": f"zip://b/2.png::{tmp_path}/train.zip"}
    assert files.read(inside) == picture(2)
    assert files.name(inside) == "train.zip/b/2.png"
    for path in ("{}/1.png", "zip://b/3.png::{}/train.zip", "zip://1::{}/no.zip"):
        with pytest.raises(ImageError, match="its file is not in the dataset"):
            files.read({"bytes": None, "path": path.format(tmp_path)})
    with pytest.raises(ImageError, match="its archive is damaged"):
        files.read({"path": f"zip://1.png::{tmp_path}/damaged.zip"})
    for empty in (None, b"", {"bytes": None, "path": None}, {}):
        with pytest.raises(ImageError, match="no image in this row"):
            files.read(empty)


@pytest.fixture
def few_bytes(monkeypatch):
    """At most a megabyte is read of one picture."""
    for place in (limits, module):
        monkeypatch.setattr(place, "LIMITS", replace(LIMITS, image_bytes=1_000_000))


def test_of_a_file_that_is_too_large_only_the_start_is_downloaded(hub, few_bytes):
    sizes = {"large.png": 3_000_000, "exact.png": 1_000_000, "empty.png": 0}
    contents = {name: bytes(size) for name, size in sizes.items()}
    sha = hub.add("datasets", "cells/large", contents).sha
    root = f"hf://datasets/cells/large@{sha}/"
    files = HubFiles(root=root, repository="cells/large", revision=sha, token=None)
    with pytest.raises(ImageError, match="at most 1 MB, found 3"):
        files.read({"path": f"{root}large.png"})
    wait_for(lambda: hub.served[-1:] == [("large.png", 1_000_001)])
    for name in ("exact.png", "empty.png"):
        assert files.read({"path": root + name}) == contents[name]
    with pytest.raises(ImageError, match="not in the dataset"):
        files.read({"path": f"{root}gone.png"})


@pytest.mark.parametrize(
    ("path", "folder", "name"),
    [
        ("{}data/train/cat/1.png", "cat", "data/train/cat/1.png"),
        ("zip://dog/1.png::{}train.zip", "dog", "train.zip/dog/1.png"),
        ("{}train/1.png", None, "train/1.png"),
        ("/etc/cat/1.png", None, None),
    ],
)
def test_a_file_has_a_name_and_its_folder_may_be_a_class(path, folder, name):
    cell = {"bytes": None, "path": path.format(HUB.root)}
    assert (HUB.folder(cell), HUB.name(cell)) == (folder, name)
    assert HUB.name(cell | {"bytes": b"x"}) is None


def test_the_token_is_not_shown():
    assert "hf_secret" not in repr(HUB)
