"""A file on the Hub of which parts are read, as far as the connection lets them come."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from transfer import hub

MOST_SECONDS = 15.0
MOST_ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5


class NoRanges(Exception):
    """Parts of this file are not to be had: take the whole of it, `bytes` long where known."""

    def __init__(self, file_bytes: int | None):
        super().__init__("no ranges")
        self.bytes = file_bytes


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file at one commit; `etag` is of its content, whatever the commit."""

    repository: str
    filename: str
    commit: str
    etag: str
    bytes: int

    @cached_property
    def url(self) -> str:
        """The Hub's own, so that each request gets a fresh address of wherever the bytes are."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repository, self.filename, revision=self.commit)

    def read(self, start: int, stop: int) -> bytes:
        """All bytes from `start` to `stop`; raises what `stream` raises after some attempts."""
        attempts, come = Attempts(), b""
        while start + len(come) < stop:
            with attempts:
                for chunk in self.stream(start + len(come), stop):
                    come += chunk
        return come

    def stream(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to `stop` as they come; an error of `lost` if fewer come.

        The client sends its token to the Hub alone, not where the Hub sends it on to. Raises
        NoRanges when something else is answered than what was asked for.
        """
        from huggingface_hub import constants, get_session
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

        asked = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        headers, seconds = build_hf_headers() | asked, constants.HF_HUB_DOWNLOAD_TIMEOUT
        left, deadline = stop - start, time.monotonic() + MOST_SECONDS
        with get_session().stream("GET", self.url, headers=headers, timeout=seconds) as response:
            hf_raise_for_status(response)
            if not self._is_answered(response, start, stop):
                raise NoRanges(self.bytes)
            for chunk in response.iter_raw():
                yield chunk[:left]
                left -= len(chunk)
                if left <= 0:
                    return
                if time.monotonic() > deadline:
                    raise TimeoutError("it comes too slowly")
        raise ConnectionError(f"{left} bytes are missing")

    def _is_answered(self, response, start: int, stop: int) -> bool:
        expected = {f"bytes {start}-{stop - 1}/{total}" for total in (self.bytes, "*")}
        packed = response.headers.get("Content-Encoding", "identity") != "identity"
        ranged = response.headers.get("Content-Range") in expected
        return response.status_code == 206 and ranged and not packed


def find_file(repository: str, filename: str, version: str) -> RemoteFile:
    """What the Hub says of a file at a branch or commit, within three seconds.

    Raises HubUnavailable, NoRanges, or what the Hub's client raises.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repository, filename, revision=version)
    found = hub.with_deadline(lambda: get_hf_file_metadata(url, timeout=hub.ANSWER_SECONDS))
    if not found.commit_hash or not found.size:
        raise NoRanges(found.size)
    return RemoteFile(
        repository=repository,
        filename=filename,
        commit=found.commit_hash,
        etag=found.etag or found.commit_hash,
        bytes=found.size,
    )


class Attempts:
    """In a `with`: an error of `lost` is swallowed after a pause, unless too many came in a row."""

    def __init__(self):
        self.in_vain = 0

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> bool:
        if error is None:
            self.in_vain = 0
            return False
        self.in_vain += 1
        if not isinstance(error, lost()) or self.in_vain >= MOST_ATTEMPTS:
            return False
        time.sleep(FIRST_PAUSE_SECONDS * 2 ** (self.in_vain - 1))
        return True


def lost() -> tuple[type[Exception], ...]:
    """What a connection that broke, a busy server or an address that ran out raises."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    return httpx.TransportError, HfHubHTTPError, ConnectionError, TimeoutError
