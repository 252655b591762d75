import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from transfer.data.checks.inspect import inspect
from transfer.data.greys import GreyScale
from transfer.data.image import load_image
from transfer.data.source import open_dataset
from transfer.data.transform import Transform
from transfer.errors import RunError
from transfer.settings import TrainingSettings

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
DEPTHS = {  # what is stored for a picture of 8 bits
    "10 bits": (".png", lambda grey: grey.astype(np.uint16) * 4),
    "12 bits": (".png", lambda grey: grey.astype(np.uint16) * 16),
    "14 bits": (".tif", lambda grey: grey.astype(np.uint16) * 64),
    "16 bits": (".png", lambda grey: grey.astype(np.uint16) * 257),
    "32 bits": (".tif", lambda grey: grey.astype(np.int32) * 1000),
    "0…1": (".tif", lambda grey: grey.astype(np.float32) / 255),
    "0…1.02": (".tif", lambda grey: grey.astype(np.float32) / 250),
    "0…255": (".tif", lambda grey: grey.astype(np.float32)),
    "-1…1": (".tif", lambda grey: grey.astype(np.float32) / 127.5 - 1),
}


def saved(values: np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_16_bits(values: np.ndarray) -> bytes:
    """(H, W, 3 or 4), which Pillow reads but does not write."""
    height, width, channels = values.shape
    colours = {3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks)


def tiff_of_12_bits(values: np.ndarray) -> bytes:
    """(H, W), packed, which Pillow reads but does not write."""
    bits = "".join(f"{value:012b}" for value in values.ravel())
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    height, width = values.shape
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    entries.append(struct.pack("<HHII", 279, 4, 1, len(data)))
    count = struct.pack("<H", len(entries))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + count + b"".join(entries) + bytes(4)


@pytest.fixture
def stored(tmp_path):
    def store(depth: str, *greys: np.ndarray) -> str:
        """The folder of two classes with these pictures each."""
        suffix, deepened = DEPTHS[depth]
        for name in ("ant", "bee"):
            (tmp_path / name).mkdir()
            for number, grey in enumerate(greys):
                Image.fromarray(deepened(grey)).save(tmp_path / name / f"{number}{suffix}")
        return str(tmp_path)

    return store


@pytest.mark.parametrize("depth", DEPTHS)
def test_pictures_of_a_dataset_are_the_same_in_every_depth(stored, depth):
    greys = RAMP, RAMP // 20  # the second is dark, and must stay so
    images = open_dataset(stored(depth, *greys), TrainingSettings())
    transform = Transform(image_size=16, greys=images.greys)
    for at, grey in enumerate(greys):
        found = transform.pixels(images.splits["train"].read(at)).astype(int)
        assert np.abs(found - grey).max() <= 6
    (where, why), *_ = [(issue.where, issue.why) for issue in inspect(images).problems]
    assert where in ("16-bit greys", "float greys") and "is scaled to 0…255" in why


def test_nan_and_infinite_pixels_leave_the_others_as_they_are():
    values = RAMP.astype(np.float32) / 255
    values[0, :3] = np.nan, np.inf, -np.inf
    for greys in (GreyScale(), GreyScale(floats=(0, 1)), None):
        found = np.asarray(load_image(values, greys=greys))[..., 0]
        assert found[0, :3].tolist() == [0, 255, 0]
        assert np.array_equal(found[1:], RAMP[1:])


def test_a_dark_picture_whose_file_declares_its_depth_stays_dark():
    dark = RAMP.astype(np.uint16)
    png, tiff = saved(dark), saved(dark, "TIFF", tiffinfo={281: 4095})
    declared = png[:33] + chunk(b"sBIT", b"\x0c") + png[33:]  # 33: behind the header
    for data in (declared, tiff, tiff_of_12_bits(dark)):
        assert np.asarray(load_image(data)).max() == 16  # 255 of 4095
    assert np.asarray(load_image(png)).max() == 255


def test_colours_of_16_bits_follow_the_scale_as_well():
    deep = np.stack([RAMP.astype(np.uint16) * 16] * 3, axis=-1)
    opaque = np.full((16, 16, 1), 65_535, dtype=np.uint16)
    for values in (deep, np.concatenate([deep, opaque], axis=-1)):
        found = np.asarray(load_image(png_of_16_bits(values))).astype(int)
        assert np.abs(found - RAMP[..., None]).max() <= 16  # Pillow leaves 16 levels of 12 bits


def test_integers_and_floats_have_a_scale_each():
    greys = GreyScale(integers=(0, 4095), floats=(0, 1))
    for values in (RAMP.astype(np.uint16) * 16, RAMP.astype(np.float64) / 255, RAMP):
        assert (
            np.abs(np.asarray(load_image(values, greys=greys))[..., 0] - RAMP.astype(int)).max()
            <= 1
        )


def test_the_scale_travels_with_the_transform_and_older_ones_read_pictures_as_they_did():
    transform = Transform(image_size=16, greys=GreyScale(integers=(0.0, 4095.0)))
    record = json.loads(json.dumps(transform.to_json()))
    assert Transform.from_json(record) == transform
    for greys in (
        {"integers": [0]},
        {"floats": [1, 1]},
        {"floats": [0, float("nan")]},
        {"x": 1},
        7,
    ):
        with pytest.raises(RunError, match="train again"):
            Transform.from_json(record | {"greys": greys})
    older = Transform.from_json({name: record[name] for name in record if name != "greys"})
    for values, white in ((RAMP.astype(np.uint16) * 16, 16), (RAMP.astype(np.uint16), 255)):
        assert older.pixels(values).max() == white
