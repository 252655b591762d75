"""The header of a safetensors file: read without trusting it, and cut down to chosen tensors."""

import json
import math
from dataclasses import dataclass

LENGTH_BYTES = 8
MOST_HEADER_BYTES = 1_000_000
MOST_TENSOR_BYTES = 2_000_000_000
MOST_DIMENSIONS = 8
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


class LayoutError(ValueError):
    """The header is not what a safetensors file has; the message says in which way."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Where one tensor's bytes stand, counted from the file's first byte."""

    name: str
    dtype: str
    shape: list[int]
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A smaller safetensors file: its `header`, then the source's bytes in `ranges`, in order.

    `ranges` are (start, stop) in the source, ascending, apart from each other.
    """

    header: bytes
    ranges: tuple[tuple[int, int], ...]

    @property
    def data_bytes(self) -> int:
        return sum(stop - start for start, stop in self.ranges)

    @property
    def bytes(self) -> int:
        return len(self.header) + self.data_bytes

    def piece(self, done: int, most: int) -> tuple[int, int]:
        """(start, stop) in the source of what follows `done` data bytes, `most` bytes at most."""
        for start, stop in self.ranges:
            if done < stop - start:
                return start + done, min(start + done + most, stop)
            done -= stop - start
        raise ValueError("nothing is left")


def header_length(first: bytes, file_bytes: int) -> int:
    """Bytes of the JSON that follows the first eight. Raises LayoutError."""
    if len(first) < LENGTH_BYTES:
        raise LayoutError(f"{len(first)} bytes")
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    if not 2 <= length <= min(MOST_HEADER_BYTES, file_bytes - LENGTH_BYTES):
        raise LayoutError(f"a header of {length:,} bytes in a file of {file_bytes:,}")
    return length


def chosen(header: bytes, file_bytes: int, prefix: str) -> Layout:
    """The layout of the tensors whose names begin with `prefix`. Raises LayoutError.

    `header` is the JSON of a file of `file_bytes`. Every tensor in it must lie within the file and
    apart from the others; a chosen one must be of floats and as long as its shape says.
    """
    tensors = _tensors(header, LENGTH_BYTES + len(header), file_bytes)
    wanted = [tensor for tensor in tensors if tensor.name.startswith(prefix)]
    if not wanted:
        raise LayoutError(f"no tensor {prefix}…")
    for tensor in wanted:
        _check_length(tensor)
    ranges = _merged(wanted)
    total = sum(stop - start for start, stop in ranges)
    if total > MOST_TENSOR_BYTES:
        raise LayoutError(f"{total / 1e9:.1f} GB of {prefix}…")
    return Layout(header=_header(wanted), ranges=ranges)


def _tensors(header: bytes, data_start: int, file_bytes: int) -> list[Tensor]:
    """By their place in the file."""
    try:
        entries = json.loads(header, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError):
        raise LayoutError("a header that is no JSON") from None
    if not isinstance(entries, dict):
        raise LayoutError("a header that is no table")
    entries.pop("__metadata__", None)
    tensors = [_tensor(name, entry, data_start) for name, entry in entries.items()]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.stop))
    end = data_start
    for tensor in tensors:
        if not end <= tensor.start <= tensor.stop <= file_bytes:
            raise LayoutError(f"{_short(tensor.name)} over another tensor or outside the file")
        end = tensor.stop
    return tensors


def _without_doubles(pairs: list[tuple]) -> dict:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name stands twice")
    return table


def _tensor(name: str, entry: object, data_start: int) -> Tensor:
    try:
        dtype, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise LayoutError(f"no dtype, shape and offsets of {_short(name)}") from None
    fits = isinstance(dtype, str) and isinstance(shape, list) and len(shape) <= MOST_DIMENSIONS
    # not isinstance: a bool is an int too
    if not fits or any(type(number) is not int or number < 0 for number in (*shape, start, stop)):
        raise LayoutError(f"no dtype, shape and offsets of {_short(name)}")
    return Tensor(
        name=name, dtype=dtype, shape=shape, start=data_start + start, stop=data_start + stop
    )


def _check_length(tensor: Tensor) -> None:
    if tensor.dtype not in ITEM_BYTES:
        raise LayoutError(f"{_short(tensor.name)} of type {_short(tensor.dtype)}")
    if tensor.stop - tensor.start != math.prod(tensor.shape) * ITEM_BYTES[tensor.dtype]:
        raise LayoutError(f"{_short(tensor.name)} of another length than its shape says")


def _short(name: str) -> str:
    return repr(name[:60])


def _merged(tensors: list[Tensor]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for tensor in tensors:
        if ranges and ranges[-1][1] == tensor.start:
            ranges[-1] = (ranges[-1][0], tensor.stop)
        else:
            ranges.append((tensor.start, tensor.stop))
    return tuple(ranges)


def _header(tensors: list[Tensor]) -> bytes:
    """As the format has it: eight bytes of length, JSON padded to eight, offsets without holes."""
    entries: dict[str, dict] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + tensor.stop - tensor.start
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [start, end],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text
