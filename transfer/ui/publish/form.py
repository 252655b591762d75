"""What a visitor wants published: checked field by field, and sent."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from transfer.errors import PublishError, SettingsError
from transfer.publishing import Checked, Event, PublishRequest, publish_events
from transfer.publishing.card.license import identifier

LONGEST_TOKEN = 2_000
A_TOKEN = re.compile(r"\s*hf_|hf_\w{30}")


@dataclass(frozen=True, kw_only=True)
class PublishForm:
    """What a visitor wants published, checked; the token is in no text made of it."""

    path: Path
    repository: str
    what: str
    private: bool
    licence: str | None
    token: str | None = field(repr=False)


def sent(order: PublishForm, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """What is to be private goes into no repository that is open."""
    with closing(publish_events(as_request(order), should_stop)) as events:
        for event in events:
            if isinstance(event, Checked) and order.private and not event.private:
                raise PublishError(
                    f"expected a private repository, found that {event.repository} is public; "
                    "choose another name, or take the tick from Private"
                )
            yield event


def as_request(order: PublishForm) -> PublishRequest:
    return PublishRequest(
        run=order.path,
        repository=order.repository,
        what=order.what,
        private=order.private,
        license=order.licence,
        token=order.token,
    )


def checked_token(token: str | None) -> str | None:
    """None where nothing was typed."""
    text = token.strip() if isinstance(token, str) else ""
    return text[:LONGEST_TOKEN] or None


def checked_repository(name: str | None) -> str:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    text = name.strip() if isinstance(name, str) else ""
    if A_TOKEN.search(text):
        raise PublishError(
            "expected the repository's name, found what looks like a token; type it into its own "
            "field, and make a new one on the Hub if others saw it"
        )
    try:
        validate_repo_id(text)
    except HFValidationError:
        raise PublishError(
            f"expected a repository's name like me/ants-bees, found {text[:100]!r}; use letters, "
            "digits, - _ and . in it, at most 96"
        ) from None
    return text


def checked_licence(name: str | None) -> str | None:
    """None where it is left out."""
    if name in ("", None):
        return None
    if not isinstance(name, str) or identifier(name) is None:
        raise SettingsError(
            "expected a licence that the Hub knows, such as mit or cc-by-4.0; choose one, or leave "
            "it out"
        )
    return name


def one_of(known_values: tuple[str, ...], value: str, name: str) -> str:
    if value not in known_values:
        raise SettingsError(f"expected {name} to be one that the page offers; choose it again")
    return value
