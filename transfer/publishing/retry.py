"""Asking the Hub again where it was busy: how often, how long to wait, and saying so."""

import json
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from transfer import hub
from transfer.errors import PublishError

Answer = TypeVar("Answer")
TRIES = 4
WAIT_SECONDS = 1.0  # before the second try, then twice as long each time
LONGEST_WAIT_SECONDS = 300.0  # the window of the Hub's rate limits
TICK_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """So many `seconds` are left before it is tried again; `why` is a sentence's end."""

    seconds: float
    why: str


def asking(
    call: Callable[[], Answer],
    seconds: float,
    should_stop: Callable[[], bool],
    *,
    offline_at_once: bool = False,
) -> Generator[Waiting, None, Answer]:
    """Returns what `call` does; tries again where the Hub was busy or the connection dropped.

    Each try has a deadline of `seconds`. `offline_at_once`: nobody there to connect to, or no
    answer in time, ends it at the first try. Raises what the last try raised, or PublishError.
    """
    for pause in pauses():
        check(should_stop)
        try:
            return hub.ask(call, seconds)
        except Exception as error:
            if pause is None or (offline_at_once and is_away(error)) or not is_passing(error):
                raise
            caught = error
        yield from waiting(asked_pause(caught, pause), why(caught), should_stop)
    raise AssertionError("the last pause is None")


def pauses() -> Iterator[float | None]:
    """The seconds to wait after each try that failed; None after the last."""
    for n in range(TRIES - 1):
        yield WAIT_SECONDS * 2**n
    yield None


def waiting(seconds: float, why: str, should_stop: Callable[[], bool]) -> Iterator[Waiting]:
    """Raises PublishError where the wait is too long or `should_stop` says so."""
    if seconds > LONGEST_WAIT_SECONDS:
        raise PublishError(
            f"the Hub asks to wait {seconds:.0f} seconds, so nothing was published; publish again "
            "after that"
        )
    end, shown = time.monotonic() + seconds, float("inf")
    while (left := end - time.monotonic()) > 0:
        check(should_stop)
        if shown - left >= 1:
            yield Waiting(seconds=left, why=why)
            shown = left
        time.sleep(min(TICK_SECONDS, left))


def check(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise PublishError("stopped; nothing was published")


def is_passing(error: BaseException) -> bool:
    """Whether the same request may go well a little later."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error.__cause__, OfflineModeIsEnabled):
        return False
    garbled = isinstance(error, json.JSONDecodeError)  # a proxy's page in place of an answer
    return garbled or hub.is_silence(error) or status_of(error) in (408, 429)


def is_away(error: BaseException) -> bool:
    """Whether there is nobody to ask: no connection, or no answer by the deadline."""
    from huggingface_hub.utils import httpx

    if not isinstance(error, hub.HubUnavailable):
        return False
    return error.__cause__ is None or isinstance(error.__cause__, httpx.ConnectError)


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status that the Hub answered with, if it did."""
    response = getattr(error, "response", None)
    if response is None and isinstance(error, hub.HubUnavailable):
        response = getattr(error.__cause__, "response", None)
    return getattr(response, "status_code", None)


def asked_pause(error: BaseException, own: float) -> float:
    """The seconds that the Hub asks to wait, else `own`."""
    from huggingface_hub.utils import parse_ratelimit_headers

    source = error.__cause__ if isinstance(error, hub.HubUnavailable) else error
    headers = getattr(getattr(source, "response", None), "headers", {})
    limit = parse_ratelimit_headers(headers)
    if status_of(error) == 429 and limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    asked = headers.get("retry-after", "").strip()
    return float(asked) if asked.isdigit() else own


def why(error: BaseException) -> str:
    status = status_of(error)
    if status == 429:
        return "the Hub has had too many requests"
    return f"the Hub is busy (status {status})" if status else "the connection was lost"
