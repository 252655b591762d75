"""What a visitor entered on the Publish tab, checked field by field → a PublishRequest."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from transfer.errors import PublishError, SettingsError
from transfer.publishing import Checked, Event, PublishRequest, publish_events
from transfer.publishing.bundle import WHATS
from transfer.publishing.card.license import identifier

LONGEST_TOKEN = 2_000
LIKE_A_TOKEN = re.compile(r"\s*hf_|hf_\w{30}")


@dataclass(frozen=True, kw_only=True)
class PublishForm:
    """The values as they were posted, of any type. The token is in no text made of it."""

    visitor: str
    run_id: str | None
    what: str
    repository: str
    private: bool
    license: str
    token: str | None = field(default=None, repr=False)


def as_request(form: PublishForm, run: Path) -> PublishRequest:
    """Raises TransferError, which repeats nothing that could be a token."""
    check_what(form.what)
    if not isinstance(form.private, bool):
        raise SettingsError("expected Private to be on or off; set it again")
    return PublishRequest(
        run=run,
        repository=_repository(form.repository),
        what=form.what,
        private=form.private,
        license=_license(form.license),
        token=_token(form.token),
    )


def check_what(what: object) -> None:
    if what not in WHATS:
        raise SettingsError("expected what to publish to be a choice of the page; choose it again")


def publish_guarded(request: PublishRequest, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Publish, but never into a public repository what is meant to be private."""
    with closing(publish_events(request, should_stop)) as events:
        for event in events:
            if isinstance(event, Checked) and request.private and not event.private:
                raise PublishError(
                    f"expected a private repository, found that {event.repository} is public; "
                    "choose another name, or turn Private off"
                )
            yield event


def _repository(name: object) -> str:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    text = name.strip() if isinstance(name, str) else ""
    if LIKE_A_TOKEN.search(text):
        raise PublishError(
            "expected a repository name, found what looks like a token; type it into the field "
            "Token, and create a new one on the Hub if others saw it"
        )
    try:
        validate_repo_id(text)
    except HFValidationError:
        raise PublishError(
            f"expected a repository name like me/ants-bees, found {text[:100]!r}; use at most 96 "
            "letters, digits, - _ and ."
        ) from None
    return text


def _license(name: object) -> str | None:
    """None if it is left out."""
    if name in ("", None):
        return None
    if not isinstance(name, str) or identifier(name) is None:
        raise SettingsError(
            "expected a license that the Hub knows, such as mit or cc-by-4.0; choose one, or leave "
            "it out"
        )
    return name


def _token(token: object) -> str | None:
    """None if the field is empty."""
    text = token.strip() if isinstance(token, str) else ""
    return text[:LONGEST_TOKEN] or None
