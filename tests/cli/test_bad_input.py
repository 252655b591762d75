"""What a person may hand over by mistake, or on purpose: each gets one sentence."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from transfer.data.image import load_image
from transfer.data.source import load_splits
from transfer.errors import ImageError, TransferError
from transfer.settings import TrainingSettings


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((60, 40), 80).convert("RGB").save(file, kind)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A few bytes that claim to be a picture of this size."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


PICTURES = {
    "empty": (b"", "the file is empty"),
    "text": (b"a photo of a cat", "not an image that can be read"),
    "html": (b"\n\n <!DOCTYPE html><html>404</html>", "a web page"),
    "svg": (b"<?xml version='1.0'?>\n<svg/>", "an SVG drawing"),
    "film": (b"\x00\x00\x00\x18ftypmp42rest", "HEIC picture or a video"),
    "half a jpeg": (encoded("JPEG")[:500], "damaged"),
    "half a png": (encoded("PNG")[:-900], "damaged"),
    "four thousand million pixels": (png_header(65_000, 65_000), "100 million pixels"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_an_unreadable_picture_gets_a_sentence(name, tmp_path):
    data, words = PICTURES[name]
    (tmp_path / "photo.jpg").write_bytes(data)
    for given in (data, tmp_path / "photo.jpg"):
        with pytest.raises(ImageError, match=words) as caught:
            load_image(given)
        assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def folder(*names: str, **files: str):
    """How to make a folder with pictures of these names and tables of this text."""

    def make(top: Path) -> Path:
        contents = dict.fromkeys(names, encoded("PNG"))
        contents |= {f"{name}.csv": text.encode() for name, text in files.items()}
        for name, data in contents.items():
            path = top / "given" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return top / "given"

    return make


def archive(*names: str, data: bytes = b"x"):
    def make(top: Path) -> Path:
        with zipfile.ZipFile(top / "given.zip", "w", zipfile.ZIP_DEFLATED) as target:
            for name in names:
                target.writestr(name, data)
        return top / "given.zip"

    return make


def file(data: bytes, name: str = "given.zip"):
    def make(top: Path) -> Path:
        (top / name).write_bytes(data)
        return top / name

    return make


SOURCES = {
    "nothing": (lambda _: "", "expected `digits`"),
    "a path that is nowhere": (lambda _: "/no/such/folder", "check the spelling"),
    "a name with a zero byte": (lambda _: "a\0b", "check the spelling"),
    "an address": (lambda _: "https://example.org/cats.zip", "check the spelling"),
    "an empty folder": (lambda top: top, "expected class folders"),
    "a photo": (file(encoded("PNG"), "photo.png"), "found the file"),
    "one class": (folder("cat/1.png", "cat/2.png"), "at least 2 classes"),
    "one image a class": (folder("cat/1.png", "dog/2.png"), "too few to draw any"),
    "an empty table": (folder("a.png", metadata=""), "found none"),
    "a table without labels": (folder(metadata="file_name\na.png\n"), "a column label"),
    "a page called zip": (file(b"<html>404</html>"), "not a zip, or is damaged"),
    "half a zip": (file(b"PK\x03\x04" + bytes(500)), "not a zip, or is damaged"),
    "a zip that climbs": (archive("../../cat/1.png", "dog/1.png"), "path out of the folder"),
    "a bomb": (archive("cat/1.png", data=bytes(210_000_000)), "a zip bomb"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_an_unusable_source_gets_a_sentence(name, tmp_path, hub):
    make, words = SOURCES[name]
    with pytest.raises(TransferError, match=words) as caught:
        load_splits(str(make(tmp_path)), TrainingSettings())
    text = str(caught.value)
    assert "\n" not in text and str(tmp_path) not in text and len(text) < 400
    assert hub.requests == []
