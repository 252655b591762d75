"""A request of a publish that failed → one line for a person, without token or address."""

from transfer import hub
from transfer.errors import PublishError, TransferError
from transfer.publishing.retry import status_of

REASON_LENGTH = 200
ADVICE = {
    401: "the Hub does not know this token; sign in anew with `hf auth login`",
    402: "the Hub asks for a payment plan or more room for {name}; see your billing settings there",
    403: "the Hub does not let this token write to {name}; make one that may write, then sign in "
    "with `hf auth login`",
    409: "{name} was changed by somebody else meanwhile; look at it, then publish again",
    412: "{name} was changed by somebody else meanwhile; look at it, then publish again",
    413: "the files are larger than the Hub takes for {name}; publish with --what head",
    429: "the Hub has had too many requests; publish again in some minutes",
}


def refusal(error: Exception, name: str, token: str) -> TransferError:
    """What to say of `error`, met while publishing to the repository `name`."""
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    error = _root(error)
    if isinstance(error, TransferError):
        return error
    if isinstance(error, hub.HubUnavailable) and isinstance(error.__cause__, OfflineModeIsEnabled):
        return PublishError(
            "expected to reach the Hub, found offline mode; unset HF_HUB_OFFLINE to publish"
        )
    if hub.is_silence(error):
        status = status_of(error)
        found = f"is busy (status {status})" if status else "does not answer"
        return PublishError(f"the Hub {found}, so nothing was published; publish again later")
    if isinstance(error, GatedRepoError):
        return PublishError(f"{name} is gated for you; open its page on the Hub and ask for access")
    if isinstance(error, DisabledRepoError):
        return PublishError(f"the Hub has disabled {name}; publish under another name")
    if isinstance(error, RepositoryNotFoundError):
        return PublishError(
            f"{name} is gone, or this token may not see it; check its name and publish again"
        )
    if isinstance(error, HfHubHTTPError):
        return PublishError(_refused(error, name, token))
    reason = _safe(str(error), token) if type(error) is ValueError else type(error).__name__
    return PublishError(f"publishing to {name} failed ({reason}); publish again")


def _root(error: Exception) -> Exception:
    """huggingface_hub wraps what happens to one file of several."""
    while type(error) is RuntimeError and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _refused(error: Exception, name: str, token: str) -> str:
    status = status_of(error)
    advice = ADVICE.get(status, "{name} was not published; publish again later").format(name=name)
    reason = _safe(error.server_message or "", token)
    return f"{advice} (status {status}{': ' if reason else ''}{reason})"


def _safe(text: str, token: str) -> str:
    return " ".join(text.replace(token, "…").split())[:REASON_LENGTH]
