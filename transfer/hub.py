"""Requests to the Hugging Face Hub with a deadline, and one clear line when one fails.

The timeouts of the Hub's clients bound a single read or do not exist at all: with a dead network
`whoami`, `model_info` and `create_repo` may never return, and downloads retry for minutes.
"""

import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from typing import TypeVar
from urllib.request import getproxies_environment

from transfer.errors import TransferError
from transfer.machine.environment import is_shared

Answer = TypeVar("Answer")
ANSWER_SECONDS = 3.0  # for a small request; the Hub takes about 0.2
PING_SECONDS = 10.0  # between two pings during a download, and for the answer to one
STEP_SECONDS = 0.5  # between two steps of `wait_in_steps`: how often a page is updated
MAX_FAILED_PINGS = 3
THREAD = "hub"  # name of the threads that talk to the Hub
SIGN_IN = "sign in with `hf auth login`"
ACCEPT_TERMS = f"open its page on the Hub, accept them, then {SIGN_IN}"
SILENT = "the Hub does not answer"
RUN_LOCALLY = "train on it with a copy of this app on your own machine"


class HubUnavailable(Exception):
    """The Hub did not answer: no network, offline mode, a server error, or a deadline passed."""


def with_deadline(call: Callable[[], Answer], seconds: float | None = None) -> Answer:
    """What `call` returns or raises; HubUnavailable after `seconds`, ANSWER_SECONDS by default."""
    return _result(_start(call), ANSWER_SECONDS if seconds is None else seconds)


def wait_for(call: Callable[[], Answer], ping: Callable[[], object]) -> Answer:
    """What a long `call` returns or raises; HubUnavailable once `ping` gets no answer any more."""
    steps = wait_in_steps(call, ping)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def wait_in_steps(
    call: Callable[[], Answer], ping: Callable[[], object]
) -> Generator[None, None, Answer]:
    """`wait_for` as a generator that yields every STEP_SECONDS, so that progress can be shown.

    A slow download may take an hour, so the Hub is asked something small every PING_SECONDS; the
    call is given up after MAX_FAILED_PINGS in a row.
    """
    future = _start(call)
    failed, last = 0, time.monotonic()
    while not wait([future], min(STEP_SECONDS, PING_SECONDS)).done:
        yield
        if time.monotonic() - last < PING_SECONDS:
            continue
        failed = 0 if _answers(ping) else failed + 1
        last = time.monotonic()
        if failed >= MAX_FAILED_PINGS:
            break
    return _result(future, 0)


def _start(call: Callable[[], Answer]) -> "Future[Answer]":
    """In a daemon thread: the process can end although the call never returns."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name=THREAD).start()
    return future


def _result(future: "Future[Answer]", seconds: float) -> Answer:
    if not wait([future], seconds).done:
        raise HubUnavailable
    error = future.exception()
    if error is not None and is_unavailable(error):
        raise HubUnavailable from error
    return future.result()


def _answers(ping: Callable[[], object]) -> bool:
    """Whether there is any answer; a refusal is one."""
    try:
        with_deadline(ping, PING_SECONDS)
    except HubUnavailable:
        return False
    except Exception:
        return True
    return True


def is_unavailable(error: BaseException) -> bool:
    """Whether an error of the Hub's clients means that the Hub cannot be reached or is down."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx

    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code >= 500
    kinds = (httpx.TransportError, OfflineModeIsEnabled, LocalEntryNotFoundError, HubUnavailable)
    return isinstance(error, (*kinds, ConnectionError, TimeoutError))


def local_cause() -> str | None:
    """A setting of this machine that keeps every request from the Hub, and what to do, or None."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.utils import httpx

    if constants.HF_HUB_OFFLINE:
        other = os.environ.get("TRANSFORMERS_OFFLINE") and not os.environ.get("HF_HUB_OFFLINE")
        name = "TRANSFORMERS_OFFLINE" if other else "HF_HUB_OFFLINE"
        return f"{name} is set; unset it to use the Hub"
    if not re.match(r"https?://\w", constants.ENDPOINT):
        return "HF_ENDPOINT has no https:// before the host; correct it or unset it"
    token = get_token() or ""
    if not is_token(token):
        place = "in HF_TOKEN" if os.environ.get("HF_TOKEN") else "that is saved here"
        return f"the token {place} has characters that no token has; copy it again"
    try:
        if file := os.environ.get("SSL_CERT_FILE"):
            ssl.create_default_context(cafile=file)
    except OSError:
        return "SSL_CERT_FILE names no file of certificates; correct it or unset it"
    for name, address in _proxies().items():
        try:
            httpx.HTTPTransport(proxy=address if "://" in address else f"http://{address}")
        except ImportError:
            return f"{name} names a SOCKS proxy, which needs `pip install httpx[socks]`"
        except (httpx.InvalidURL, ValueError):
            return f"{name} is no address of a proxy like http://host:3128; correct it or unset it"
    return None


def is_token(text: str) -> bool:
    """Whether it can be sent as a token."""
    return text.isascii() and text.isprintable() and " " not in text


def _proxies() -> dict[str, str]:
    """Environment variable → address of the proxies that the Hub's clients set up."""
    used = getproxies_environment()  # scheme → address, lower case before upper case
    if "*" in used.get("no", ""):
        return {}
    schemes = {f"{scheme}_proxy": used.get(scheme) for scheme in ("http", "https", "all")}
    return {
        name: value
        for name, value in os.environ.items()
        if value and value == schemes.get(name.lower())
    }


def _silence() -> str:
    """That the Hub does not answer, and the proxy that may be the cause."""
    through = [name for name in _proxies() if name.lower() != "http_proxy"]
    return f"the Hub does not answer through the proxy of {through[0]}" if through else SILENT


def _is_answer(error: BaseException) -> bool:
    """Whether the Hub has answered, or was never asked because of the name."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    error = (error.__cause__ if isinstance(error, HubUnavailable) else None) or error
    answered = isinstance(error, HfHubHTTPError) and error.response is not None
    return answered or isinstance(error, HFValidationError)


def explain(error: BaseException, kind: str, name: str, refuse: type[TransferError]) -> Exception:
    """`refuse` with one line about a failed request for the `kind` (dataset, model) `name`."""
    from huggingface_hub import errors

    unknown = (errors.RepositoryNotFoundError, errors.HFValidationError)
    if isinstance(error, TransferError):
        return error
    if not _is_answer(error) and (cause := local_cause()):
        return refuse(f"the {kind} {name!r} cannot be downloaded: {cause}")
    if is_unavailable(error):
        silence = SILENT if _is_answer(error) else _silence()
        return refuse(
            f"{silence}, so the {kind} {name!r} cannot be downloaded; check the connection, or use "
            "what is on this machine"
        )
    if isinstance(error, errors.GatedRepoError):
        advice = RUN_LOCALLY if is_shared() else ACCEPT_TERMS
        return refuse(f"the {kind} {name!r} asks for its terms to be accepted first; {advice}")
    if isinstance(error, (*unknown, errors.RevisionNotFoundError)):
        return refuse(
            f"expected a {kind} on the Hub, found none called {name!r}; check the spelling, or, "
            f"if it is private, {RUN_LOCALLY if is_shared() else SIGN_IN}"
        )
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        advice = "sign in again" if status in (401, 403) else "wait a minute and try again"
        return refuse(f"the Hub refused the {kind} {name!r} (status {status}); {advice}")
    return refuse(f"the {kind} {name!r} cannot be downloaded ({type(error).__name__}); try again")
