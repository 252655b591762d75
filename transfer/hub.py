"""Asking the Hugging Face Hub with a deadline, and telling in one line what went wrong."""

import os
import threading
import time
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from transfer.errors import TransferError

Answer = TypeVar("Answer")
ANSWER_SECONDS = 3.0
LOOK_SECONDS = 10.0
SHOW_SECONDS = 0.5
LOOKS_IN_VAIN = 3
SIGN_IN = "sign in with `hf auth login`"
TERMS = f"open its page on the Hub, accept them, then {SIGN_IN}"
NO_WAY_IN = "train on it with a copy of this app on your own machine"
THREAD = "hub"  # the name of those that ask


def serves_strangers() -> bool:
    """Whether whoever names things of the Hub here is a visitor of a server for everybody."""
    return os.environ.get("SYSTEM") == "spaces"


class HubUnavailable(Exception):
    """The Hub did not answer: no network, offline mode, a server error or a deadline passed."""


class _Asked(Generic[Answer]):
    """A call in a thread of its own, for the clients' own timeouts bound one read, not a whole.

    Nobody waits for a thread that was given up; it ends when its own timeouts let it.
    """

    def __init__(self, call: Callable[[], Answer]):
        self._call = call
        self._result: list[Answer] = []
        self._error: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True, name=THREAD)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as caught:
            self._error.append(caught)

    def done_within(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def answer(self) -> Answer:
        """What the call returned or raised; HubSilent where that means that nobody is there."""
        if self._error:
            if is_silence(self._error[0]):
                raise HubUnavailable from self._error[0]
            raise self._error[0]
        return self._result[0]


def ask(call: Callable[[], Answer], seconds: float = ANSWER_SECONDS) -> Answer:
    """What `call` returns, or what it raises, or HubSilent after `seconds`."""
    asked = _Asked(call)
    if not asked.done_within(seconds):
        raise HubUnavailable
    return asked.answer()


def watch(call: Callable[[], Answer], look: Callable[[], object]) -> Answer:
    """`watching` in one call."""
    steps = watching(call, look)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def watching(
    call: Callable[[], Answer], look: Callable[[], object]
) -> Generator[None, None, Answer]:
    """Returns what `call` does, however long it takes while the Hub answers; HubSilent when not.

    A download's length says nothing about the Hub, so `look` asks it something small every
    LOOK_SECONDS. It is given up after LOOKS_IN_VAIN looks in a row without any answer. Yields every
    SHOW_SECONDS, for whoever shows how far it is.
    """
    asked = _Asked(call)
    in_vain, looked = 0, time.monotonic()
    while not asked.done_within(min(SHOW_SECONDS, LOOK_SECONDS)):
        yield
        if time.monotonic() - looked < LOOK_SECONDS:
            continue
        in_vain = 0 if _answers(look) else in_vain + 1
        if in_vain >= LOOKS_IN_VAIN and not asked.done_within(0):
            raise HubUnavailable
        looked = time.monotonic()
    return asked.answer()


def _answers(look: Callable[[], object]) -> bool:
    """Whether anything comes back, be it a refusal."""
    try:
        ask(look, LOOK_SECONDS)
    except HubUnavailable:
        return False
    except Exception:
        return True
    return True


def is_silence(error: BaseException) -> bool:
    """Whether an error of the Hub's clients means that nobody is there to ask."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx

    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code >= 500
    silence = (httpx.TransportError, OfflineModeIsEnabled, LocalEntryNotFoundError, HubUnavailable)
    return isinstance(error, (*silence, ConnectionError, TimeoutError))


def _way_in(advice: str) -> str:
    return NO_WAY_IN if serves_strangers() else advice


def explain(error: BaseException, kind: str, name: str, refuse: type[TransferError]) -> Exception:
    """`refuse` with one line about a failed request for the `kind` (data set, model) `name`."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, TransferError):
        return error
    if is_silence(error):
        return refuse(
            f"the Hub does not answer, so the {kind} {name!r} cannot be fetched; check the "
            "connection, or use what is on this machine"
        )
    if isinstance(error, GatedRepoError):
        return refuse(
            f"the {kind} {name!r} asks for its terms to be accepted first; {_way_in(TERMS)}"
        )
    if isinstance(error, (RepositoryNotFoundError, HFValidationError, RevisionNotFoundError)):
        return refuse(
            f"expected a {kind} on the Hub, found none called {name!r}; check the spelling, or, "
            f"if it is private, {_way_in(SIGN_IN)}"
        )
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        advice = "sign in anew" if status in (401, 403) else "wait a minute and try again"
        return refuse(f"the Hub refused the {kind} {name!r} (status {status}); {advice}")
    return refuse(f"the {kind} {name!r} cannot be fetched ({type(error).__name__}); try again")


def on_zero_gpu() -> bool:
    """Whether this process has a GPU only so. Needs no torch."""
    return bool(os.environ.get("SPACES_ZERO_GPU"))
