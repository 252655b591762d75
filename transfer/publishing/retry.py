"""Requests to the Hub with a deadline, sent again if the Hub was busy or the connection dropped."""

import json
import time
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from transfer import hub
from transfer.errors import PublishError
from transfer.publishing.events import Waiting

Answer = TypeVar("Answer")
Steps = Generator[Waiting, None, Answer]  # what a request reports while it waits, and its answer
PAUSES = (1.0, 3.0)  # seconds before the second and the last attempt
LONGEST_WAIT_SECONDS = 300.0  # the window of the Hub's rate limits
TICK_SECONDS = 0.2


def retrying(
    call: Callable[[], Answer],
    seconds: float,
    should_stop: Callable[[], bool],
    *,
    find_result: Callable[[Exception], Steps[Answer | None]] | None = None,
) -> Steps[Answer]:
    """Return what `call` returns, after up to three attempts of at most `seconds` each.

    After a failure `find_result` may find that the request took effect and only its answer was
    lost. Raises what the last attempt raised, or PublishError.
    """
    pauses = list(PAUSES)
    while True:
        check(should_stop)
        try:
            return hub.with_deadline(call, seconds)
        except Exception as error:
            caught = error
        if find_result and (result := (yield from find_result(caught))) is not None:
            return result
        if not pauses or not is_temporary(caught):
            raise caught
        yield from wait(requested_pause(caught, pauses.pop(0)), reason(caught), should_stop)


def wait(seconds: float, why: str, should_stop: Callable[[], bool]) -> Iterator[Waiting]:
    """Yields every TICK_SECONDS. Raises PublishError if the wait is too long or is stopped."""
    if seconds > LONGEST_WAIT_SECONDS:
        raise PublishError(
            f"the Hub asks to wait {seconds:.0f} seconds, so nothing was published; publish again "
            "after that"
        )
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check(should_stop)
        yield Waiting(seconds=left, why=why)
        time.sleep(min(TICK_SECONDS, left))


def check(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise PublishError("stopped; nothing was published")


def is_temporary(error: BaseException) -> bool:
    """Whether the same request may succeed a little later; not if there was no answer in time."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, hub.HubUnavailable):
        error = error.__cause__
    if error is None or isinstance(error, OfflineModeIsEnabled):
        return False
    garbled = isinstance(error, json.JSONDecodeError)  # a proxy's error page instead of an answer
    return garbled or hub.is_unavailable(error) or status_of(error) in (408, 429)


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status of the Hub's answer, if there was one."""
    return getattr(_response(error), "status_code", None)


def _response(error: BaseException | None):
    cause = error.__cause__ if isinstance(error, hub.HubUnavailable) else error
    return getattr(cause, "response", None)


def requested_pause(error: BaseException, own: float) -> float:
    """The seconds that the Hub asks to wait, else `own`."""
    from huggingface_hub.utils import parse_ratelimit_headers

    headers = getattr(_response(error), "headers", {})
    limit = parse_ratelimit_headers(headers)
    if status_of(error) == 429 and limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    asked = headers.get("retry-after", "").strip()
    return float(asked) if asked.isdigit() else own


def reason(error: BaseException) -> str:
    status = status_of(error)
    if status == 429:
        return "the Hub has received too many requests"
    return f"the Hub is busy (status {status})" if status else "the connection was lost"
