import random
import stat
import struct
import time
import tracemalloc
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.data.checks.pictures import saved
from tests.tiny import picture
from transfer.data import limits
from transfer.data.image import load_image
from transfer.data.limits import LIMITS
from transfer.data.local import archive
from transfer.data.local.archive import UTF_8, open_archive
from transfer.errors import ImageError, SourceError

PNG = saved(picture(0, 0))


def zipped(path: Path, *names: str, kind: int = zipfile.ZIP_STORED, **others: bytes) -> Path:
    """A zip with different pictures of these names, and other files."""
    pictures = {name: saved(picture(0, n)) for n, name in enumerate(names) if name[-1] not in "/\\"}
    with zipfile.ZipFile(path, "w", kind) as target:
        for name, data in (dict.fromkeys(names, b"") | pictures | others).items():
            target.writestr(name, data)
    return path


@pytest.fixture
def pets(tmp_path) -> Path:
    return zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png")


def refusal(path: Path) -> str:
    before = set(path.parent.rglob("*"))
    with pytest.raises(SourceError) as caught:
        open_archive(path)
    assert "\n" not in str(caught.value) and str(path.parent) not in str(caught.value)
    assert set(path.parent.rglob("*")) == before
    return str(caught.value)


def patched(path: Path, sign: bytes, at: int, value: bytes) -> Path:
    """Bytes of the last record that begins with `sign`, changed."""
    data = bytearray(path.read_bytes())
    start = data.rfind(sign) + at
    data[start : start + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("wrap", ["", "a/b/pets/"])
def test_class_folders_in_a_zip_are_classes(tmp_path, wrap):
    names = ("dog/b.png", "Käse/a.png", "dog/a.png")
    images = open_archive(zipped(tmp_path / "1.zip", *(wrap + name for name in names)))
    split = images.splits["train"]
    assert images.classes == ("Käse", "dog")
    assert split.names == tuple(wrap + name for name in ("Käse/a.png", "dog/a.png", "dog/b.png"))
    assert load_image(split.read(0)).tobytes() == picture(0, 1).tobytes()
    again = open_archive(zipped(tmp_path / "2.zip", *(wrap + name for name in names)))
    other = open_archive(zipped(tmp_path / "3.zip", *(wrap + name for name in names[::-1])))
    assert again.revision == images.revision != other.revision


def test_names_as_other_systems_write_them(tmp_path):
    names = ("cat\\", "cat\\1.png", "./dog//2.png", "K{{fer/1.png")
    junk = ("__MACOSX/cat/._1.png", "cat/.DS_Store", "cat/Thumbs.db")
    path = zipped(tmp_path / "pets.zip", *names, *junk, **{"cat/more.zip": b"PK"})
    data = path.read_bytes().replace(b"K{{fer", "Käfer".encode())
    path.write_bytes(data.replace(b"PK\x01\x02\x14\x03", b"PK\x01\x02\x14\x00"))  # made on DOS
    images = open_archive(path)
    assert images.class_counts() == {"Käfer": 1, "cat": 1, "dog": 1}
    found = [(problem.where, problem.why) for problem in images.problems]
    assert found == [("cat/more.zip", "not named as an image")]


def test_a_zip_is_read_by_the_rules_of_folders(tmp_path):
    names = ("train/x/cat/1.png", "train/x/dog/2.png", "test/x/cat/3.png", "test/x/dog/4.png")
    others = ("@eaDir/5.png", "train/x/cat/@eaDir/1.png/6.png", ".net/7.png", "runs/8.txt")
    images = open_archive(zipped(tmp_path / "1.zip", *names, *others))
    assert images.counts() == {"test": 2, "train": 2} and images.classes == ("cat", "dog")
    assert [problem.where for problem in images.problems] == [".net"]
    seg = zipped(tmp_path / "2.zip", *(f"seg_{name}" for name in names))
    assert "found the same folders ('cat', 'dog') in each of 'seg_test'" in refusal(seg)


class RawName(zipfile.ZipInfo):
    """A member whose name is written in another encoding, without the flag of UTF-8."""

    def __init__(self, name: str, encoding: str, unicode_path: bytes = b""):
        super().__init__(name)
        self.raw = name.encode(encoding)
        if unicode_path:
            field = struct.pack("<HHBI", 0x7075, 5 + len(unicode_path), 1, zlib.crc32(self.raw))
            self.extra = b"\x99\x99\x01\x00x" + field + unicode_path

    def _encodeFilenameFlags(self):
        return self.raw, self.flag_bits & ~UTF_8


def in_code_page(path: Path, encoding: str, *classes: str, marked: bool = False) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name in classes:
            member = f"{name}/1.png"
            target.writestr(RawName(member, encoding, member.encode() if marked else b""), PNG)
    return path


@pytest.mark.parametrize(
    ("encoding", "classes"),
    [
        ("cp932", "表A 表B ソファ"),
        ("gbk", "猫 狗"),
        ("cp1252", "Käfer Biene"),
        ("cp866", "кот пёс"),
    ],
)
def test_names_in_another_code_page_stay_apart_and_are_reported(tmp_path, encoding, classes):
    classes = classes.split()
    images = open_archive(in_code_page(tmp_path / "pets.zip", encoding, *classes))
    assert sorted(images.class_counts().values()) == [1] * len(classes)
    (problem,) = images.problems
    shown = classes[0].encode(encoding).decode("cp437")
    assert f"names in another code page, read as {f'{shown}/1.png'!r}" in problem.why
    marked = open_archive(in_code_page(tmp_path / "b.zip", encoding, *classes, marked=True))
    assert set(marked.classes) == set(classes) and marked.problems == ()


def test_a_unicode_name_for_another_name_is_not_used(tmp_path):
    path = in_code_page(tmp_path / "a.zip", "utf-8", "é", "b", marked=True)
    path.write_bytes(
        path.read_bytes().replace(zlib.crc32("é/1.png".encode()).to_bytes(4, "little"), b"1234")
    )
    assert open_archive(path).classes == ("b", "é")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/cat/1.png", "path out of the folder"),
        ("c:\\cat\\1.png", "path out of the folder"),
        ("cat\\..\\1.png", "path out of the folder"),
        ("./cat/1.png", "two files called"),
        ("a/" * 32_000 + "1.png", "more than 32 deep"),
    ],
    ids=lambda value: value[:12],
)
def test_hostile_names_are_refused(tmp_path, name, words):
    assert words in refusal(zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png", name))


def test_a_link_is_refused(pets):
    link = zipfile.ZipInfo("cat/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(pets, "a") as target:
        target.writestr(link, "/etc/passwd")
    assert "a link" in refusal(pets)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [(8, b"\x01\x00", "found a password"), (42, struct.pack("<I", 1), "files that overlap")],
)
def test_locked_and_overlapping_files_are_refused(pets, at, value, words):
    assert words in refusal(patched(pets, b"PK\x01\x02", at, value))


def test_a_bomb_is_refused_before_it_is_read(tmp_path, monkeypatch):
    bomb = zipped(tmp_path / "a.zip", kind=zipfile.ZIP_DEFLATED, **{"cat/1.png": bytes(30_000_000)})
    monkeypatch.setattr(archive, "LIMITS", replace(LIMITS, image_bytes=20_000_000))
    assert "a zip bomb" in refusal(bomb)


@pytest.mark.parametrize("size", [1_000, 500_000_000])
def test_a_file_of_a_wrong_size_is_not_unpacked(tmp_path, size):
    files = {"cat/1.png": PNG, "dog/2.png": bytes(50_000_000), "dog/x": random.randbytes(4_000_000)}
    path = zipped(tmp_path / "lie.zip", kind=zipfile.ZIP_DEFLATED, **files)
    data, entry = path.read_bytes(), struct.pack("<I", 50_000_000)
    path.write_bytes(data.replace(entry, struct.pack("<I", size)))
    split = open_archive(path).splits["train"]
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"damaged|at most 200 MB"):
            split.read(1)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_is_unpacked_in_one_piece_is_not_read(tmp_path, kind):
    path = zipped(tmp_path / "pets.zip", "cat/1.png", "dog/2.png", kind=kind)
    with pytest.raises(ImageError, match="expected zip's usual compression"):
        open_archive(path).splits["train"].read(0)


def test_damaged_and_large_pictures_are_image_errors(pets, monkeypatch):
    data = bytearray(pets.read_bytes())
    data[60] ^= 255
    pets.write_bytes(data)
    split = open_archive(pets).splits["train"]
    with pytest.raises(ImageError, match="zip is damaged here"):
        split.read(0)
    assert load_image(split.read(1))
    monkeypatch.setattr(limits, "LIMITS", replace(LIMITS, image_bytes=100))
    with pytest.raises(ImageError, match="make the image smaller"):
        split.read(1)


def test_files_are_counted_whatever_number_is_claimed(tmp_path):
    def end_of(listing: int) -> bytes:
        return b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 1, 1, listing, 0, 0)

    listing = (b"PK\x01\x02" + bytes(24) + b"\x01\x00" + bytes(16) + b"a") * 500_000
    (tmp_path / "a.zip").write_bytes(listing + end_of(len(listing)))
    started = time.monotonic()
    assert "more than 200,000 files" in refusal(tmp_path / "a.zip")
    assert time.monotonic() - started < 1
    # a zip64 end record that claims little, and one that zipfile believes
    ends = [
        b"PK\x06\x06" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, 1, 1, size, 56)
        for size in (47, len(listing))
    ]
    locator = b"PK\x06\x07" + struct.pack("<LQL", 0, 0, 1)
    (tmp_path / "b.zip").write_bytes(ends[0] + listing + ends[1] + locator + end_of(47))
    assert "more than 200,000 files" in refusal(tmp_path / "b.zip")


@pytest.mark.parametrize(
    ("names", "end", "words"),
    [
        ((), None, "found nothing"),
        (("a.zip", "b.tar.gz"), None, "archives within it"),
        (("cat/1.png", "dog/2.png"), 100, "is not a zip, or is damaged"),
    ],
)
def test_an_empty_nested_or_cut_zip_is_refused(tmp_path, names, end, words):
    path = zipped(tmp_path / "pets.zip", *names)
    path.write_bytes(path.read_bytes()[:end])
    assert words in refusal(path)
