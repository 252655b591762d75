"""Whatever a person may hand over by mistake, or on purpose, and what must be answered."""

import io
import struct
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.data.local.test_archive import patched, png, zipped
from tests.data.local.test_folder import draw
from transfer.data.image import load_image
from transfer.data.source import load_splits
from transfer.errors import ImageError, TransferError
from transfer.settings import HeadSettings, TrainingSettings

SECONDS = 15


def encoded(kind: str, image: Image.Image | None = None, **options) -> bytes:
    file = io.BytesIO()
    (image or Image.effect_noise((60, 40), 80)).convert("RGB").save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(width: int, height: int) -> bytes:
    """A few bytes that claim to be a picture of this size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


PICTURES = {
    "empty": (b"", "the file is empty"),
    "text": (b"a photo of a cat", "no image that can be read"),
    "zeros": (bytes(1000), "no image that can be read"),
    "html": (b"<!DOCTYPE html><html>404</html>", "a web page"),
    "html after blanks": (b"\n\n  <html>", "a web page"),
    "xml": (b"<?xml version='1.0'?><feed/>", "a web page"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
    "svg after a prologue": (b"<?xml version='1.0'?>\n<svg/>", "an SVG drawing"),
    "pdf": (b"%PDF-1.7\n%%EOF", "no image that can be read"),
    "zip": (b"PK\x03\x04rest", "no image that can be read"),
    "film": (b"\x00\x00\x00\x18ftypmp42rest", "HEIC picture or a film"),
    "script": (b"#!/bin/sh\nrm -rf /", "no image that can be read"),
    "half a jpeg": (encoded("JPEG")[:500], "damaged"),
    "a jpeg's first bytes": (encoded("JPEG")[:20], "no image|damaged"),
    "half a png": (encoded("PNG")[:-900], "damaged"),
    "half a gif": (encoded("GIF")[:-900], "damaged"),
    "half a webp": (encoded("WEBP")[:-300], "damaged|no image"),
    "half a tiff": (encoded("TIFF")[:-900], "damaged"),
    "half a bmp": (encoded("BMP")[:-900], "damaged"),
    "a png with a wrong checksum": (encoded("PNG")[:40] + bytes(9), "damaged|no"),
    "200 million pixels": (png_of(20_000, 10_000), "100 million pixels"),
    "four thousand million pixels": (png_of(65_000, 65_000), "100 million pixels"),
    "no pixels": (png_of(0, 10), "without pixels|no image|damaged"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_cannot_be_read_is_told_in_a_sentence(name, tmp_path):
    data, words = PICTURES[name]
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for given in (data, path):
        answered(lambda given=given: load_image(given), ImageError, words, tmp_path)


def answered(call, kind: type[TransferError], words: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(kind, match=words) as caught:
        call()
    assert time.monotonic() - started < SECONDS
    text = str(caught.value)
    assert "\n" not in text and str(tmp_path) not in text and "Traceback" not in text
    assert len(text) < 400


def folder_of(**files: bytes | str):
    """How to make a folder of such files; `__` in a name stands for a slash, `_` for a dot."""

    def make(top: Path) -> Path:
        for name, data in files.items():
            path = top / "given" / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        return top / "given"

    return make


def drawn(*names: str):
    return lambda top: draw(top / "given", *names)


def archive_of(*names: str, **others: bytes):
    return lambda top: zipped(top / "given.zip", *names, **others)


def broken(sign: bytes, at: int, value: bytes):
    names = ("cat/1.png", "dog/2.png")
    return lambda top: patched(zipped(top / "given.zip", *names), sign, at, value)


def bomb(top: Path) -> Path:
    with zipfile.ZipFile(top / "given.zip", "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("cat/1.png", bytes(210_000_000))
    return top / "given.zip"


def file_of(data: bytes, name: str = "given.zip"):
    def make(top: Path) -> Path:
        (top / name).write_bytes(data)
        return top / name

    return make


def with_empty_class(top: Path) -> Path:
    draw(top / "given", "cat/1.png")
    (top / "given/dog").mkdir()
    return top / "given"


TABLE = "file_name,label\n"
CENTRAL = b"PK\x01\x02"
SOURCES = {
    "nothing": (lambda _: "", "expected `digits`"),
    "a name that is nowhere": (lambda _: "photos", "no folder or zip is called 'photos' here"),
    "a path that is nowhere": (lambda _: "/no/such/folder", "check the spelling"),
    "a very long name": (lambda _: "x" * 9_000, "check the spelling"),
    "a name with a zero byte": (lambda _: "a\0b", "check the spelling"),
    "an address": (lambda _: "https://example.org/cats.zip", "check the spelling"),
    "an empty folder": (lambda top: top, "expected class folders"),
    "a photo": (file_of(png(), "photo.png"), "found the file"),
    "photos in a heap": (drawn("1.png", "2.png"), "expected class folders"),
    "one class": (drawn("cat/1.png", "cat/2.png"), "at least 2 classes"),
    "an empty class": (with_empty_class, "found none in 'dog'"),
    "classes of text": (folder_of(cat__a_txt="x", dog__b_txt="y"), "class folders"),
    "one image a class": (drawn("cat/1.png", "dog/2.png"), "too few to set any aside"),
    "a class only in the test": (
        drawn("train/cat/1.png", "train/dog/1.png", "test/cow/1.png", "val/cat/1.png"),
        "found none in 'cow'",
    ),
    "two validation splits": (
        drawn("train/cat/1.png", "val/cat/1.png", "valid/cat/1.png"),
        "one folder for validation",
    ),
    "an empty table": (folder_of(metadata_csv="", a_png=png()), "found none; fill it"),
    "a table without rows": (folder_of(metadata_csv=TABLE, a_png=png()), "found none; fill it"),
    "a table without names": (folder_of(metadata_csv="a.png,cat\n", a_png=png()), "found none"),
    "a table without files": (folder_of(metadata_csv="x,label\n1,2\n", a_png=png()), "file_name"),
    "a table without labels": (folder_of(metadata_csv="file_name\na.png\n"), "a column label"),
    "a table with two candidates": (
        folder_of(metadata_csv="file_name,x,y\na.png,1,2\n"),
        "pass --label-column",
    ),
    "a table of nothing that is there": (
        folder_of(metadata_csv=TABLE + "gone.png,cat\n", a_png=png()),
        "found none",
    ),
    "a table with two labels": (
        folder_of(metadata_csv=TABLE + "a.png,x\na.png,y\n", a_png=png()),
        "found 'x' and 'y'",
    ),
    "a table in Latin-1": (
        folder_of(metadata_csv="file_name,label\né,x\n".encode("latin-1"), a_png=png()),
        "UTF-8",
    ),
    "a table of half a JSON": (folder_of(metadata_jsonl='{"file_name": ', a_png=png()), "line 1"),
    "a table of lists": (
        folder_of(metadata_jsonl='{"file_name": "a.png", "label": ["x"]}', a_png=png()),
        "one label an image",
    ),
    "an empty zip": (archive_of(), "found nothing"),
    "no bytes": (file_of(b""), "no zip, or a broken one"),
    "a page called zip": (file_of(b"<html>404</html>"), "no zip, or a broken one"),
    "a picture called zip": (file_of(png()), "no zip, or a broken one"),
    "a rar called zip": (file_of(b"Rar!\x1a\x07\x01\x00" + bytes(99)), "no zip, or a broken one"),
    "half a zip": (file_of(b"PK\x03\x04" + bytes(500)), "no zip, or a broken one"),
    "a zip of zips": (archive_of("a.zip", "b.zip"), "archives within it"),
    "a zip of text": (archive_of(**{"cat/a.txt": b"x"}), "class folders"),
    "a zip of a heap": (archive_of("1.png", "2.png"), "class folders"),
    "a zip of one class": (archive_of("cat/1.png", "cat/2.png"), "at least 2 classes"),
    "a zip with an empty class": (archive_of("cat/1.png", "dog/"), "found none in 'dog'"),
    "a zip with an absolute path": (archive_of("/cat/1.png", "dog/1.png"), "absolute path"),
    "a zip with a drive": (archive_of("C:\\cat\\1.png", "dog/1.png"), "absolute path"),
    "a zip that climbs": (archive_of("../../cat/1.png", "dog/1.png"), "leaves the folder"),
    "a zip that climbs backwards": (archive_of("a\\..\\..\\1.png"), "leaves the folder"),
    "a zip with one name twice": (archive_of("cat/1.png", "cat\\1.png"), "two files called"),
    "a zip with a link": (broken(CENTRAL, 38, b"\x00\x00\xff\xa1"), "a link"),
    "a locked zip": (broken(CENTRAL, 8, b"\x01\x00"), "without a password"),
    "a zip whose files overlap": (broken(CENTRAL, 42, b"\x01\x00"), "on top of each other"),
    "a zip with a listing elsewhere": (broken(b"PK\x05\x06", 12, b"\xff\xff"), "no zip"),
    "a zip of far too many files": (broken(b"PK\x05\x06", 12, b"\xff" * 4), "200,000 files"),
    "a bomb": (bomb, "a bomb"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_that_cannot_be_used_is_told_in_a_sentence(name, tmp_path, hub):
    make, words = SOURCES[name]
    source = str(make(tmp_path))
    answered(lambda: load_splits(source, TrainingSettings()), TransferError, words, tmp_path)
    assert (hub.requests == []) == (source != "photos")


SETTINGS = {
    "an unknown method": ({"method": "magic"}, "method must be one of"),
    "a tiny image size": ({"image_size": 8}, "image size must be a whole number from 32"),
    "half an epoch": ({"head_epochs": 0.5}, "epochs must be a whole number"),
    "a rate in words": ({"head_lr": "fast"}, "learning rate must be a number"),
    "a rate that is none": ({"finetune_lr": float("nan")}, "learning rate must be a number"),
    "an accuracy in percent": ({"target_accuracy": 90}, "target accuracy must be a number"),
    "a block that is none": ({"unfreeze": "block6"}, "unfreeze must be one of"),
    "a head that is none": ({"head": "big"}, "head must be auto"),
    "a head of three layers": ({"head": "avg-1-2-3"}, "at most 2 layers"),
    "a dropout of all": ({"head": (0.99,)}, "dropout must be"),
    "a setting that is none": ({"colour": "red"}, "known setting"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_cannot_be_used_is_told_in_a_sentence(name, tmp_path):
    options, words = SETTINGS[name]

    def make():
        if isinstance(options.get("head"), tuple):
            HeadSettings(dropout=options["head"][0])
        TrainingSettings.from_options(**options)

    answered(make, TransferError, words, tmp_path)


def test_the_table_is_as_long_as_it_should_be():
    assert len(PICTURES) + len(SOURCES) + len(SETTINGS) >= 60
