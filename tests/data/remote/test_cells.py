import tracemalloc
import zipfile
from dataclasses import replace

import pytest

from tests.hub_datasets import picture
from tests.waiting import wait_for
from transfer.data import limits
from transfer.data.limits import LIMITS
from transfer.data.remote import cells
from transfer.data.remote.cells import Files, HubFiles
from transfer.errors import ImageError

HUB = HubFiles(
    root="hf://datasets/user/name@abc/", repository="user/name", revision="abc", token="hf_secret"
)


@pytest.mark.parametrize(
    "path",
    [
        "hf://datasets/user/name@abc/train/1.png",
        "zip://cat/1.png::hf://datasets/user/name@abc/train.zip",
    ],
)
def test_files_of_the_data_set_are_held(path):
    assert HUB.holds(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "1.png",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://169.254.169.254/secret",
        "hf://datasets/user/name@def/1.png",
        "hf://datasets/user/name2@abc/1.png",
        "hf://datasets/user/name@abc/../../other/name@abc/1.png",
        "zip://1.png::/home/somebody/photos.zip",
        "zip://1.png::http://elsewhere/photos.zip",
        "http://elsewhere/x::hf://datasets/user/name@abc/train.zip",
        "/etc/passwd::hf://datasets/user/name@abc/train.zip",
        "hf://datasets/user/name@abc/train.zip::/etc/passwd",
        "zip://1.png::zip://a.zip::hf://datasets/user/name@abc/train.zip",
    ],
)
def test_what_lies_elsewhere_is_not_held_and_never_opened(path):
    assert not HUB.holds(path)
    with pytest.raises(ImageError) as caught:
        HUB.read({"bytes": None, "path": path})
    assert "passwd" not in str(caught.value)


def test_a_file_elsewhere_on_this_disk_is_not_opened(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "mine.png").write_bytes(picture(1))
    files = Files(root=f"{tmp_path}/set/")
    with pytest.raises(ImageError, match="its file is not in the data set"):
        files.read({"bytes": None, "path": str(tmp_path / "mine.png")})
    with pytest.raises(ImageError, match="its file is not in the data set"):
        files.read({"bytes": None, "path": f"{tmp_path}/set/../mine.png"})


def test_bytes_come_before_a_path():
    assert HUB.read({"bytes": b"here", "path": "/etc/passwd"}) == b"here"
    assert HUB.read(b"here") == b"here"


@pytest.mark.parametrize("cell", [None, b"", {"bytes": None, "path": None}, {"bytes": b""}, {}])
def test_an_empty_cell_is_told(cell):
    with pytest.raises(ImageError, match="no image in this row"):
        HUB.read(cell)


def test_files_and_files_in_archives_are_read_from_disk(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(picture(1))
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("b/2.png", picture(2))
    files = Files(root=f"{tmp_path}/")
    assert files.read({"bytes": None, "path": f"{tmp_path}/a/1.png"}) == picture(1)
    inside = {"bytes": None, "path": f"zip://b/2.png::{tmp_path}/train.zip"}
    assert files.read(inside) == picture(2)
    assert files.name(inside) == "train.zip/b/2.png"


@pytest.mark.parametrize("path", ["{}/1.png", "zip://b/3.png::{}/train.zip", "zip://1::{}/no.zip"])
def test_a_file_that_is_gone_is_told(tmp_path, path):
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("b/2.png", picture(2))
    with pytest.raises(ImageError, match="its file is not in the data set"):
        Files(root=f"{tmp_path}/").read({"bytes": None, "path": path.format(tmp_path)})


def test_an_archive_that_is_none_is_told(tmp_path):
    (tmp_path / "train.zip").write_bytes(b"nothing")
    with pytest.raises(ImageError, match="its archive is damaged"):
        Files(root=f"{tmp_path}/").read({"path": f"zip://1.png::{tmp_path}/train.zip"})


@pytest.fixture
def few_bytes(monkeypatch):
    """Of one picture at most a megabyte is read."""
    for module in (limits, cells):
        monkeypatch.setattr(module, "LIMITS", replace(LIMITS, image_bytes=1_000_000))


def test_what_swells_to_too_much_is_not_unpacked(tmp_path, few_bytes):
    with zipfile.ZipFile(tmp_path / "train.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(40_000_000))
        archive.writestr("1.png", picture(1))
    files = Files(root=f"{tmp_path}/")
    tracemalloc.start()
    with pytest.raises(ImageError, match="at most 1 MB, found 40"):
        files.read({"path": f"zip://bomb.png::{tmp_path}/train.zip"})
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert files.read({"path": f"zip://1.png::{tmp_path}/train.zip"}) == picture(1)


def test_a_member_that_hides_its_size_is_damaged(tmp_path, few_bytes):
    path = tmp_path / "train.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(40_000_000))
    swollen, told = (size.to_bytes(4, "little") for size in (40_000_000, 10))
    path.write_bytes(path.read_bytes().replace(swollen, told))
    with pytest.raises(ImageError, match="its archive is damaged"):
        Files(root=f"{tmp_path}/").read({"path": f"zip://bomb.png::{path}"})


def test_what_unpacks_all_at_once_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "train.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("1.png", picture(1))
    with pytest.raises(ImageError, match="packed in a way that is not read"):
        Files(root=f"{tmp_path}/").read({"path": f"zip://1.png::{tmp_path}/train.zip"})


def test_a_file_of_too_many_bytes_is_not_read(tmp_path, few_bytes, monkeypatch):
    (tmp_path / "1.png").write_bytes(bytes(2_000_000))
    monkeypatch.delattr("pathlib.Path.read_bytes")
    with pytest.raises(ImageError, match="at most 1 MB, found 2"):
        Files(root=f"{tmp_path}/").read({"path": f"{tmp_path}/1.png"})


def test_of_a_file_of_too_many_bytes_on_the_hub_only_the_start_comes(hub, few_bytes):
    whole = {"large.png": bytes(3_000_000), "exact.png": bytes(1_000_000), "empty.png": b""}
    sha = hub.add("datasets", "cells/large", whole).sha
    root = f"hf://datasets/cells/large@{sha}/"
    files = HubFiles(root=root, repository="cells/large", revision=sha, token=None)
    with pytest.raises(ImageError, match="at most 1 MB, found 3"):
        files.read({"path": f"{root}large.png"})
    wait_for(lambda: hub.served[-1:] == [("large.png", 1_000_001)])
    for name in ("exact.png", "empty.png"):
        assert files.read({"path": root + name}) == whole[name]
    with pytest.raises(ImageError, match="not in the data set"):
        files.read({"path": f"{root}gone.png"})


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("train/cat/1.png", "cat"),
        ("data/train/cat/1.png", "cat"),
        ("zip://dog/1.png::{}train.zip", "dog"),
        ("zip://1.png::{}cats/train.zip", None),
        ("train/1.png", None),
        ("validation/1.png", None),
        ("1.png", None),
        ("/etc/cat/1.png", None),
    ],
)
def test_the_folder_of_a_file_may_be_its_class(path, folder):
    path = path.format(HUB.root) if "::" in path else path if path[0] == "/" else HUB.root + path
    assert HUB.folder({"bytes": None, "path": path}) == folder


def test_a_file_is_called_as_in_the_data_set():
    path = "hf://datasets/user/name@abc/train/1.png"
    assert HUB.name({"bytes": None, "path": path}) == "train/1.png"
    assert HUB.name({"bytes": b"x", "path": path}) is None
    assert HUB.name({"bytes": None, "path": "/etc/passwd"}) is None
    assert HUB.name(None) is None


def test_the_token_is_not_shown():
    assert "hf_secret" not in repr(HUB)
