"""What a visitor entered on the Publish tab → a PublishRequest."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from transfer.errors import PublishError
from transfer.publishing import Checked, Event, PublishRequest, publish_events
from transfer.publishing.account import check_name
from transfer.publishing.bundle import DATASET
from transfer.ui.publish.text import CONSENT

LIKE_A_TOKEN = re.compile(r"^\s*hf_|hf_\w{30}", re.MULTILINE)


def as_request(
    run: Path, *, what: str, repository: str, private: bool, license: str, token: str = ""
) -> PublishRequest:
    """Raises PublishError, which repeats nothing that could be a token.

    What to publish and the license are checked before anything is sent.
    """
    if LIKE_A_TOKEN.search(f"{repository}\n{license}"):
        raise PublishError(
            "expected a repository name and a license, found what looks like a token; type it into "
            "the field Token, and create a new one on the Hub if others saw it"
        )
    return PublishRequest(
        run=run,
        repository=check_name((repository or "").strip()),
        what=what,
        private=private is not False,
        license=license or None,
        token=(token or "").strip() or None,
    )


def check_consent(request: PublishRequest, consent: object) -> None:
    """Raises PublishError where everybody would see one's own photos and that was not confirmed."""
    if request.what == DATASET and not request.private and consent is not True:
        raise PublishError(
            f"expected your consent for a public dataset; tick “{CONSENT}”, or turn Private on"
        )


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
