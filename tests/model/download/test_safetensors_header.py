import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.hub_cuts import with_length
from transfer.model.download import safetensors_header
from transfer.model.download.safetensors_header import (
    LENGTH_BYTES,
    LayoutError,
    chosen,
    header_length,
)


def entry(start: int, stop: int, dtype: str = "F32", shape: list | None = None) -> dict:
    shape = [(stop - start) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def refusal(entries: object, file_bytes: int = 1_000_000) -> str:
    header = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    with pytest.raises(LayoutError) as caught:
        chosen(header, file_bytes, "f.")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
    return str(caught.value)


def cut(content: bytes, prefix: str):
    length = header_length(content, len(content))
    return chosen(content[LENGTH_BYTES : LENGTH_BYTES + length], len(content), prefix)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_header_and_ranges_make_a_file_of_the_chosen_tensors_alone(dtype):
    tensors = {f"f.{n}": np.arange(n * 6, dtype=dtype).reshape(2, n, 3) for n in range(9)}
    content = save(tensors | {"a": np.ones(5, dtype), "z": np.ones(7, dtype)})
    found = cut(content, "f.")
    small = found.header + b"".join(content[start:stop] for start, stop in found.ranges)
    assert len(small) == found.bytes < len(content) and len(found.ranges) == 1
    assert found.data_bytes == sum(tensor.nbytes for tensor in tensors.values())
    loaded = load(small)
    assert loaded.keys() == tensors.keys()
    assert all(np.array_equal(loaded[name], tensors[name]) for name in tensors)


def test_tensors_that_stand_apart_are_separate_ranges_in_the_files_order():
    entries = {"f.b": entry(40, 60), "g": entry(8, 40), "f.a": entry(0, 8), "f.c": entry(60, 64)}
    header = json.dumps(entries).encode()
    found = chosen(header, 8 + len(header) + 64, "f.")
    start = 8 + len(header)
    assert found.ranges == ((start, start + 8), (start + 40, start + 64))
    names = list(json.loads(found.header[8:]))
    assert names == ["__metadata__", "f.a", "f.b", "f.c"]


def test_pieces_stay_within_a_range_and_follow_each_other():
    found = safetensors_header.Layout(header=b"", ranges=((100, 110), (200, 205)))
    assert found.piece(0, 4) == (100, 104)
    assert found.piece(8, 4) == (108, 110)
    assert found.piece(10, 4) == (200, 204)
    assert found.piece(14, 4) == (204, 205)
    with pytest.raises(ValueError, match="nothing is left"):
        found.piece(15, 4)


def test_the_length_of_a_header_is_bounded():
    content = with_length(b"{}")
    assert header_length(content, len(content)) == 8
    for first, file_bytes in (
        (b"", 0),
        (b"1234567", 7),
        (content, 12),
        (bytes(8), 100),
        (b"\xff" * 8, 10**12),
        ((safetensors_header.MOST_HEADER_BYTES + 1).to_bytes(8, "little"), 10**12),
    ):
        with pytest.raises(LayoutError):
            header_length(first, file_bytes)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"f.a": ' + b"9" * 10_000 + b"}", "no JSON"),
        (b'{"f.a": 1, "f.a": 2}', "no JSON"),
        ([1], "no table"),
        ({}, "no tensor f."),
        ({"__metadata__": {"f.": "x"}}, "no tensor f."),
        ({"head": entry(0, 4)}, "no tensor f."),
        ({"f.a": 1}, "no dtype, shape and offsets of 'f.a'"),
        ({"f.a": [1, 2, 3]}, "no dtype, shape and offsets"),
        ({"f.a": {"dtype": "F32", "shape": [1]}}, "no dtype, shape and offsets"),
        ({"f.a": entry(0, 4) | {"data_offsets": [0, 4, 8]}}, "no dtype, shape and offsets"),
        ({"f.a": entry(0, 4) | {"data_offsets": [0, 4.0]}}, "no dtype, shape and offsets"),
        ({"f.a": entry(0, 4) | {"data_offsets": "04"}}, "no dtype, shape and offsets"),
        ({"f.a": entry(0, 4, shape=[True])}, "no dtype, shape and offsets"),
        ({"f.a": entry(0, 4, shape=[-1])}, "no dtype, shape and offsets"),
        ({"f.a": entry(0, 4, shape=[1] * 9)}, "no dtype, shape and offsets"),
        ({"f.a": entry(0, 4, shape="1")}, "no dtype, shape and offsets"),
        ({"f.a": entry(0, 4, dtype=["F32"])}, "no dtype, shape and offsets"),
        ({"f.a": entry(-4, 0)}, "no dtype, shape and offsets"),
        ({"f.a": entry(0, 4, dtype="I32")}, "of type 'I32'"),
        ({"f.a": entry(0, 8, shape=[1])}, "another length than its shape says"),
        ({"f.a": entry(0, 4, shape=[10**18] * 8)}, "another length than its shape says"),
        ({"f.a": entry(0, 4, shape=[10**4000] * 8)}, "another length than its shape says"),
        ({"f.a": entry(0, 4), "f.b": entry(0, 4)}, "'f.b' over another"),
        ({"f.a": entry(0, 8), "g": entry(4, 12)}, "'g' over another"),
        ({"f.a": entry(8, 4, shape=[0])}, "'f.a' over another tensor or outside"),
        ({"f.a": entry(0, 4_000_000)}, "outside the file"),
        ({"f." + "x" * 5000: entry(0, 4_000_000)}, "outside the file"),
    ],
)
def test_a_header_that_lies_is_refused_in_one_line(entries, words):
    assert words in refusal(entries)


def test_there_is_a_bound_to_what_is_fetched():
    most = safetensors_header.MOST_TENSOR_BYTES
    assert "2.0 GB of f." in refusal({"f.a": entry(0, most + 4)}, file_bytes=2 * most)


def test_types_that_are_not_asked_for_do_not_matter():
    header = json.dumps({"f.a": entry(0, 4), "z": entry(4, 5, dtype="F8_E4M3", shape=[1])}).encode()
    assert chosen(header, 8 + len(header) + 5, "f.").data_bytes == 4
