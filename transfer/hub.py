"""Asking the Hugging Face Hub with a deadline, and telling in one line what went wrong."""

import threading
from collections.abc import Callable
from typing import TypeVar

from transfer.errors import TransferError

Answer = TypeVar("Answer")
ANSWER_SECONDS = 3.0


class HubSilent(Exception):
    """The Hub did not answer: no network, offline mode, a server error or a deadline passed."""


def ask(call: Callable[[], Answer], seconds: float = ANSWER_SECONDS) -> Answer:
    """What `call` returns, or what it raises, or HubSilent after `seconds`.

    The clients' own timeouts bound one read, not a whole answer, so the call gets a thread.
    """
    result: list[Answer] = []
    error: list[BaseException] = []

    def run() -> None:
        try:
            result.append(call())
        except BaseException as caught:
            error.append(caught)

    thread = threading.Thread(target=run, daemon=True, name="hub")
    thread.start()
    thread.join(seconds)
    if error:
        if is_silence(error[0]):
            raise HubSilent from error[0]
        raise error[0]
    if not result:
        raise HubSilent
    return result[0]


def is_silence(error: BaseException) -> bool:
    """Whether an error of the Hub's clients means that nobody is there to ask."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx

    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code >= 500
    silence = (httpx.TransportError, OfflineModeIsEnabled, LocalEntryNotFoundError, HubSilent)
    return isinstance(error, (*silence, ConnectionError, TimeoutError))


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
            f"the {kind} {name!r} asks for its terms to be accepted first; open its page on the "
            "Hub, accept them, then sign in with `hf auth login`"
        )
    if isinstance(error, (RepositoryNotFoundError, HFValidationError, RevisionNotFoundError)):
        return refuse(
            f"expected a {kind} on the Hub, found none called {name!r}; check the spelling, or "
            "sign in with `hf auth login` if it is private"
        )
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        advice = "sign in anew" if status in (401, 403) else "wait a minute and try again"
        return refuse(f"the Hub refused the {kind} {name!r} (status {status}); {advice}")
    return refuse(f"the {kind} {name!r} cannot be fetched ({type(error).__name__}); try again")
