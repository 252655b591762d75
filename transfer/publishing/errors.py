"""A failed request of a publish → one line for a person, without token or address."""

from transfer import hub
from transfer.errors import PublishError, SignInError, TransferError
from transfer.publishing.retry import status_of

REASON_LENGTH = 200
CHANGED = "somebody else changed {name} meanwhile; look at it, then publish again"
ADVICE = {  # the kind of error or the status of the Hub's answer → what to do
    "GatedRepoError": "{name} is gated for you; open its page on the Hub and ask for access",
    "DisabledRepoError": "the Hub has disabled {name}; publish under another name",
    "RepositoryNotFoundError": "{name} is gone, or you may not see it; check its name and publish "
    "again",
    401: "the Hub does not know this token or sign-in; sign in again",
    402: "the Hub asks for a paid plan or more storage for {name}; see your billing settings there",
    403: "the Hub does not let this sign-in write to {name}; publish under another name, or sign "
    "in with write access",
    409: CHANGED,
    412: CHANGED,
    413: "the files are larger than the Hub allows for {name}; publish only the changed weights",
    429: "the Hub has received too many requests; publish again in some minutes",
}


def explain(error: Exception, name: str, token: str) -> TransferError:
    """What to say about `error`, met while publishing to the repository `name`."""
    from huggingface_hub.errors import HfHubHTTPError

    while type(error) is RuntimeError and isinstance(error.__cause__, Exception):
        error = error.__cause__  # huggingface_hub wraps what happens to one file of several
    if isinstance(error, TransferError):
        return error
    if status_of(error) is None and (cause := hub.local_cause()):
        return PublishError(f"the Hub cannot be reached, so nothing was published: {cause}")
    if hub.is_unavailable(error):
        status = status_of(error)
        found = f"is busy (status {status})" if status else "does not answer"
        return PublishError(f"the Hub {found}, so nothing was published; publish again later")
    if isinstance(error, HfHubHTTPError):
        status, default = status_of(error), "{name} was not published; publish again later"
        named = ADVICE.get(type(error).__name__)
        advice = named or ADVICE.get(status, default)
        detail = _safe(error.server_message or "", token)
        separator = ": " if detail else ""
        kind = SignInError if not named and status in (401, 403) else PublishError
        return kind(f"{advice.format(name=name)} (status {status}{separator}{detail})")
    detail = _safe(str(error), token) if type(error) is ValueError else type(error).__name__
    return PublishError(f"publishing to {name} failed ({detail}); publish again")


def _safe(text: str, token: str) -> str:
    return " ".join(text.replace(token, "…").split())[:REASON_LENGTH]
