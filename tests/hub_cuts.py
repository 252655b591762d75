"""Files of the loopback Hub that misbehave on the way, and a host that the Hub sends on to."""

import json
import re
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests import hub_server


class Served(bytes):
    """A file that counts what is sent of it, and breaks where a test says so.

    `cuts` are places in the file: whoever reads across the first of them gets no further, and the
    cut is used up. `seconds` passes before each answer. `sent` are (start, bytes), one an answer.
    """

    def __new__(cls, content: bytes, **_):
        return super().__new__(cls, content)

    def __init__(self, content: bytes, cuts: list[int] | None = None, seconds: float = 0.0):
        self.cuts = sorted(cuts or [])
        self.seconds = seconds
        self.sent: list[tuple[int, int]] = []

    def __getitem__(self, part):
        if not isinstance(part, slice):
            return super().__getitem__(part)
        time.sleep(self.seconds)
        start, stop, _ = part.indices(len(self))
        end = stop
        if self.cuts and start <= self.cuts[0] < stop:
            end = self.cuts.pop(0)
        self.sent.append((start, end - start))
        return _Short(self.read(start, end), stop - start)

    def read(self, start: int, stop: int) -> bytes:
        return super().__getitem__(slice(start, stop))

    @property
    def sent_bytes(self) -> int:
        return sum(count for _, count in self.sent)


class _Short(bytes):
    """Says that it is longer than it is, as a connection that breaks does."""

    def __new__(cls, content: bytes, length: int):
        return super().__new__(cls, content)

    def __init__(self, content: bytes, length: int):
        self.length = length

    def __len__(self) -> int:
        return self.length


class Sparse(Served):
    """A large safetensors file of which only the header is in memory.

    The rest is made when it is asked for: each eight bytes hold their own place in the file.
    """

    def __new__(cls, shapes: dict[str, tuple[int, ...]]):
        return super().__new__(cls, cls.header(shapes))

    def __init__(self, shapes: dict[str, tuple[int, ...]]):
        super().__init__(b"")
        self.size = super().__len__() + 4 * sum(map(_numbers, shapes.values()))

    @staticmethod
    def header(shapes: dict[str, tuple[int, ...]]) -> bytes:
        entries, end = {}, 0
        for name in sorted(shapes):
            start, end = end, end + 4 * _numbers(shapes[name])
            shape = list(shapes[name])
            entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
        return with_length(json.dumps(entries).encode())

    def __len__(self) -> int:
        return self.size

    def read(self, start: int, stop: int) -> bytes:
        import numpy as np

        head = super().read(start, stop)
        first = (start + len(head)) // 8
        places = np.arange(first, -(-stop // 8), dtype="<u8").tobytes()
        skipped = start + len(head) - first * 8
        return head + places[skipped : skipped + stop - start - len(head)]


def _numbers(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def with_length(header: bytes) -> bytes:
    """As a safetensors file begins, padded to eight bytes."""
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header


@contextmanager
def without_ranges(monkeypatch) -> Iterator[None]:
    """A mirror that answers every request for a part with the whole."""
    send_range = hub_server._Handler.send_range

    def send_whole(handler, *args):
        del handler.headers["Range"]
        try:
            return send_range(handler, *args)
        except ConnectionError:  # whoever asked for a part has gone
            return 0

    with monkeypatch.context() as patch:
        patch.setattr(hub_server._Handler, "send_range", send_whole)
        yield


class Store:
    """The host that the Hub sends on to: an address is good for `uses` answers, then refused.

    `tokens` are the Authorization headers that came with requests here.
    """

    def __init__(self, uses: int = 10**9):
        self.uses = uses
        self.content: bytes = b""
        self.left: dict[str, int] = {}
        self.tokens: list[str | None] = []
        self.refused = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def sign(self, content: bytes) -> str:
        """A fresh address of the content."""
        self.content = content
        signature = str(len(self.left))
        self.left[signature] = self.uses
        return f"http://127.0.0.1:{self.server.server_port}/blob?signature={signature}"

    def _handler(store) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args) -> None:
                pass

            def do_GET(self) -> None:
                store.tokens.append(self.headers.get("Authorization"))
                signature = self.path.partition("signature=")[2]
                store.left[signature] -= 1
                if store.left[signature] < 0:
                    store.refused += 1
                    return self.answer(403, b"expired")
                start, stop = map(int, re.findall(r"\d+", self.headers["Range"]))
                whole = f"bytes {start}-{stop}/{len(store.content)}"
                self.answer(206, store.content[start : stop + 1], {"Content-Range": whole})

            def answer(self, status: int, data: bytes, headers: dict | None = None) -> None:
                self.send_response(status)
                for name, value in ({"Content-Length": len(data)} | (headers or {})).items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(data)

        return Handler

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def sent_on(monkeypatch, uses: int = 10**9) -> Iterator[Store]:
    """The Hub answers for a file as the real one does for large ones: go to a signed address."""
    store = Store(uses)

    def send_on(handler, data: bytes, commit: str) -> int:
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-Size": str(len(data)),
            "X-Linked-ETag": f'"{hub_server._etag(data)}"',
            "Location": store.sign(data),
        }
        return handler.send(302, b"", headers)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(hub_server._Handler, "send_range", send_on)
            yield store
    finally:
        store.stop()
