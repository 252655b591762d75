import io
import stat
import struct
import threading
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny import picture
from transfer.data import limits
from transfer.data.image import load_image
from transfer.data.limits import LIMITS
from transfer.data.local import archive
from transfer.data.local.archive import open_archive
from transfer.data.source import load_splits
from transfer.errors import ImageError, SourceError
from transfer.settings import TrainingSettings


def png(kind: int = 0, number: int = 0) -> bytes:
    file = io.BytesIO()
    picture(kind, number).save(file, "PNG")
    return file.getvalue()


def zipped(path: Path, *names: str, **others: bytes) -> Path:
    """A zip with a picture of each name; those of a class show the same kind."""
    with zipfile.ZipFile(path, "w") as target:
        for number, name in enumerate(names):
            target.writestr(name, png(number % 3, number) if name[-1] not in "/\\" else b"")
        for name, data in others.items():
            target.writestr(name, data)
    return path


def refusal(path: Path) -> str:
    before = set(path.parent.rglob("*"))
    with pytest.raises(SourceError) as caught:
        open_archive(path)
    assert "\n" not in str(caught.value) and str(path.parent) not in str(caught.value)
    assert set(path.parent.rglob("*")) == before
    return str(caught.value)


def test_class_folders_in_a_zip_are_classes(tmp_path):
    images = open_archive(zipped(tmp_path / "pets.zip", "dog/b.png", "cat/a.png", "dog/a.png"))
    assert images.classes == ("cat", "dog")
    split = images.splits["train"]
    assert split.names == ("cat/a.png", "dog/a.png", "dog/b.png")
    assert load_image(split.read(0)).tobytes() == picture(1, 1).tobytes()


@pytest.mark.parametrize("wrap", ["pets/", "a/b/pets/"])
def test_folders_around_it_are_no_classes(tmp_path, wrap):
    names = ("cat/1.png", "dog/2.png")
    images = open_archive(zipped(tmp_path / "pets.zip", *(wrap + name for name in names)))
    assert images.classes == ("cat", "dog")
    assert images.splits["train"].names == tuple(wrap + name for name in names)


def test_splits_are_found_in_a_zip_as_in_a_folder(tmp_path):
    names = ("x/train/cat/1.png", "x/train/dog/2.png", "x/val/cat/3.png", "x/test/dog/4.png")
    images = open_archive(zipped(tmp_path / "pets.zip", *names))
    assert images.counts() == {"test": 1, "train": 2, "validation": 1}


def test_what_macs_and_windows_leave_behind_is_not_looked_at(tmp_path):
    junk = ("__MACOSX/cat/._1.png", "cat/.DS_Store", "cat/Thumbs.db", "dog/desktop.ini")
    images = open_archive(zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png", *junk))
    assert images.class_counts() == {"cat": 1, "dog": 1} and images.problems == ()


def test_names_with_backslashes_are_paths(tmp_path):
    images = open_archive(zipped(tmp_path / "pets.zip", "cat\\1.png", "dog\\2.png"))
    assert images.classes == ("cat", "dog")


def test_names_in_any_alphabet_are_kept(tmp_path):
    images = open_archive(zipped(tmp_path / "pets.zip", "Käse/ä.png", "猫/1.png"))
    assert images.classes == ("Käse", "猫")


def test_the_revision_is_that_of_the_contents(tmp_path):
    one = open_archive(zipped(tmp_path / "1.zip", "cat/1.png", "dog/2.png")).revision
    again = open_archive(zipped(tmp_path / "2.zip", "cat/1.png", "dog/2.png")).revision
    other = open_archive(zipped(tmp_path / "3.zip", "dog/2.png", "cat/1.png")).revision
    assert one == again != other


def test_a_zip_is_a_source_by_its_name(tmp_path):
    names = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(8)]
    zipped(tmp_path / "pets.ZIP", *names)
    images = load_splits(str(tmp_path / "pets.ZIP"), TrainingSettings())
    assert sum(images.counts().values()) == 16 and set(images.splits) >= {"train", "test"}


def test_several_threads_read_at_once(tmp_path):
    names = [f"{'ab'[number % 2]}/{number:02}.png" for number in range(40)]
    split = open_archive(zipped(tmp_path / "many.zip", *names)).splits["train"]
    wanted = [split.read(i) for i in range(40)]
    wrong = []

    def read():
        wrong.extend(i for i in range(40) if split.read(i) != wanted[i])

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_file_that_is_no_image_is_told(tmp_path):
    path = zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png", **{"cat/more.zip": b"PK"})
    told = [(problem.where, problem.why) for problem in open_archive(path).problems]
    assert told == [("cat/more.zip", "not named as an image")]


def test_a_member_whose_bytes_are_broken_is_an_image_error(tmp_path):
    path = zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png")
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    split = open_archive(path).splits["train"]
    with pytest.raises(ImageError, match="zip is broken here"):
        split.read(0)
    assert load_image(split.read(1))


def test_a_picture_of_too_many_bytes_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LIMITS", replace(LIMITS, image_bytes=100))
    split = open_archive(zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png")).splits["train"]
    with pytest.raises(ImageError, match="make the image smaller"):
        split.read(0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/cat/1.png", "absolute path"),
        ("\\cat\\1.png", "absolute path"),
        ("C:/cat/1.png", "absolute path"),
        ("c:\\cat\\1.png", "absolute path"),
        ("../cat/1.png", "leaves the folder"),
        ("cat/../../1.png", "leaves the folder"),
        ("cat\\..\\1.png", "leaves the folder"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name, words):
    assert words in refusal(zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png", name))


def test_a_link_is_refused(tmp_path):
    path = zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png")
    link = zipfile.ZipInfo("cat/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as target:
        target.writestr(link, "/etc/passwd")
    assert "a link" in refusal(path)


def test_a_bomb_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("cat/1.png", bytes(210_000_000))
    assert "a bomb" in refusal(path)


def patched(path: Path, sign: bytes, at: int, value: bytes) -> Path:
    """Bytes of the last record that begins with `sign`, changed."""
    data = bytearray(path.read_bytes())
    start = data.rfind(sign) + at
    data[start : start + len(value)] = value
    path.write_bytes(data)
    return path


def test_a_size_that_is_a_lie_gives_no_more_than_it_says(tmp_path):
    path = tmp_path / "lie.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("cat/1.png", png())
        target.writestr("dog/2.png", bytes(50_000_000))
    patched(path, b"PK\x01\x02", 24, struct.pack("<I", 1000))
    split = open_archive(path).splits["train"]
    with pytest.raises(ImageError, match="broken"):
        split.read(1)


def test_more_files_than_one_may_have_are_refused_before_they_are_listed(tmp_path, monkeypatch):
    path = zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png", "dog/3.png")
    monkeypatch.setattr(archive, "LIMITS", replace(archive.LIMITS, archive_files=2))
    monkeypatch.setattr(archive.zipfile, "ZipFile", None)
    assert "more than 2 files" in refusal(path)


def test_ten_million_claimed_files_are_refused_at_once(tmp_path):
    path = zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png")
    data = path.read_bytes()
    end = data.rfind(b"PK\x05\x06")
    count = 10_000_000
    end64 = struct.pack(
        "<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, 46 * count, 0
    )
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    path.write_bytes(data[:end] + end64 + locator + data[end:])
    assert "more than 200,000 files" in refusal(path)


def test_a_locked_zip_is_refused(tmp_path):
    path = zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png")
    assert "without a password" in refusal(patched(path, b"PK\x01\x02", 8, b"\x01\x00"))


def test_files_on_top_of_each_other_are_refused(tmp_path):
    path = zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png")
    assert "on top of each other" in refusal(patched(path, b"PK\x01\x02", 42, struct.pack("<I", 1)))


def test_two_files_of_one_name_are_refused(tmp_path):
    path = zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png")
    with zipfile.ZipFile(path, "a") as target:
        target.writestr("cat\\1.png", png())
    assert "two files called" in refusal(path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "found nothing"),
        (("a.zip", "b.tar.gz"), "archives within it"),
        (("1.png", "2.png"), "class folders"),
        (("cat/1.png", "dog/"), "found none in 'dog'"),
    ],
)
def test_a_zip_without_classes_is_refused(tmp_path, names, words):
    assert words in refusal(zipped(tmp_path / "pets.zip", *names))


@pytest.mark.parametrize("kept", [0, 4, 100, -1, -30])
def test_a_cut_zip_is_refused(tmp_path, kept):
    path = zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png")
    path.write_bytes(path.read_bytes()[:kept])
    assert "no zip, or a broken one" in refusal(path)


def test_what_is_only_called_a_zip_is_refused(tmp_path):
    path = tmp_path / "page.zip"
    path.write_text("<html>gone</html>")
    assert "no zip" in refusal(path)
    Image.new("RGB", (9, 9)).save(tmp_path / "photo.png")
    (tmp_path / "photo.png").rename(path)
    assert "no zip" in refusal(path)


def told_sizes(path: Path, size: int) -> Path:
    """The zip, whose listing says of its last file that it is so large."""
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(data)
    return path


def test_no_more_is_unpacked_than_a_file_is_said_to_hold(tmp_path):
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("cat/1.png", png())
        target.writestr("dog/2.png", bytes(100_000_000))
    images = open_archive(told_sizes(path, 100_000))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="broken"):
            images.splits["train"].read(1)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_file_that_is_shorter_than_said_is_an_image_error(tmp_path):
    path = told_sizes(zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png"), 50_000)
    with pytest.raises(ImageError, match="broken"):
        open_archive(path).splits["train"].read(1)


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packing_that_cannot_be_unpacked_in_parts_is_not_read(tmp_path, kind):
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w", kind) as target:
        target.writestr("cat/1.png", png())
        target.writestr("dog/2.png", png())
    with pytest.raises(ImageError, match="packed in a way"):
        open_archive(path).splits["train"].read(0)


def listing_of(entries: int) -> bytes:
    return (b"PK\x01\x02" + bytes(24) + b"\x01\x00" + bytes(16) + b"a") * entries


def end_of(entries: int, listing: int) -> bytes:
    return b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, entries, entries, listing, 0, 0)


def test_files_are_counted_whatever_their_number_is_said_to_be(tmp_path):
    listing = listing_of(500_000)
    (tmp_path / "a.zip").write_bytes(listing + end_of(1, len(listing)))
    started = time.monotonic()
    assert "more than 200,000 files" in refusal(tmp_path / "a.zip")
    assert time.monotonic() - started < 1


def test_a_second_end_that_says_less_deceives_nobody(tmp_path):
    listing = listing_of(500_000)
    ends = [
        b"PK\x06\x06" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, 1, 1, size, 56)
        for size in (47, len(listing))
    ]
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 1)
    (tmp_path / "a.zip").write_bytes(ends[0] + listing + ends[1] + locator + end_of(1, 47))
    assert "more than 200,000 files" in refusal(tmp_path / "a.zip")


def test_folders_far_within_each_other_are_refused(tmp_path):
    path = zipped(tmp_path / "deep.zip", "a/" * 32_000 + "1.png", "b/2.png")
    tracemalloc.start()
    try:
        assert "more than 32 deep" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_names_that_begin_with_a_dot_and_a_slash_are_read(tmp_path):
    images = open_archive(zipped(tmp_path / "pets.zip", "./", "./cat/1.png", "./dog//2.png"))
    assert images.splits["train"].names == ("cat/1.png", "dog/2.png")


def test_folders_of_windows_are_no_files(tmp_path):
    names = ("cat\\", "dog\\", "cat\\1.png", "dog\\2.png")
    assert open_archive(zipped(tmp_path / "pets.zip", *names)).problems == ()


@pytest.mark.parametrize("encoding", ["utf-8", "cp437"])
def test_names_in_an_encoding_that_is_not_told_are_guessed(tmp_path, encoding):
    mark, name = b"K{{fer", "Käfer".encode(encoding).ljust(6, b"s")
    path = zipped(tmp_path / "pets.zip", "K{{fer/1.png", "dog/2.png")
    path.write_bytes(path.read_bytes().replace(mark, name))
    assert open_archive(path).classes == (name.decode(encoding), "dog")
