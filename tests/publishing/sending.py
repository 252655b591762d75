"""Helpers of the tests of publishing: send, and look at what the Hub holds."""

from pathlib import Path

import pytest

from tests.hub_server import FRIEND
from tests.hub_writing import GIT_ATTRIBUTES
from tests.tiny import drained
from transfer.errors import PublishError
from transfer.publishing import PublishRequest, publish_events

ID = "me/stripes"


def save_tensors(path: Path, value: float = 0.0) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"head.layers.0.weight": torch.full((9, 9), value)}, path)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def expected(folder: Path) -> dict[str, bytes]:
    card = b"---\ntags: [x]\n---\n# " + ID.encode()
    return contents(folder) | {".gitattributes": GIT_ATTRIBUTES, "README.md": card}


def found(writing) -> dict[str, bytes] | None:
    """What the repository holds now."""
    repository = writing.hub.repositories.get(("models", ID))
    return repository and repository.files


def send(run, repository=ID, token=FRIEND, should_stop=lambda: False, **more):
    """(events, what was published)."""
    request = PublishRequest(run=run, repository=repository, token=token, **more)
    return drained(publish_events(request, should_stop))


def refused(run, repository=ID, kind=PublishError, **more) -> str:
    """The one line with which it is refused."""
    with pytest.raises(kind) as caught:
        send(run, repository, **more)
    message = str(caught.value)
    assert "\n" not in message and message and FRIEND not in message
    return message


def empty(writing) -> None:
    """The Hub holds nothing again, and answers without faults."""
    writing.hub.repositories.clear()
    writing.objects.clear()
    writing.forget()


def requests(writing, small) -> list[str]:
    """The requests of one publish, in order."""
    send(small)
    asked = [asked for asked, _ in writing.seen]
    empty(writing)
    return asked


def number_of(writing, small, part: str) -> int:
    """The number of the first request with `part` in it, from 1."""
    return 1 + [part in asked for asked in requests(writing, small)].index(True)
