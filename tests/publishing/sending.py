"""What the tests of publishing say to each other: send, and look at what stands where."""

import time
from pathlib import Path

import pytest

from tests.hub_server import FRIEND
from tests.hub_writing import GIT_ATTRIBUTES
from tests.tiny import drained
from transfer.errors import PublishError
from transfer.publishing import publishing

ID = "me/stripes"


class Clock:
    """In place of `time` in huggingface_hub."""

    longest = 0.005

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, self.longest))


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


def send(run, repository=ID, token=FRIEND, **more):
    """(events, what was published)."""
    return drained(publishing(run, repository, token=token, **more))


def refused(run, repository=ID, kind=PublishError, **more) -> str:
    """The one line with which it is refused."""
    with pytest.raises(kind) as told:
        send(run, repository, **more)
    message = str(told.value)
    assert "\n" not in message and message and FRIEND not in message
    return message


def numbered(writing, small) -> list[str]:
    """What a publish asks, in its order."""
    send(small)
    asked = [asked for asked, _ in writing.seen]
    writing.hub.repositories.clear()
    writing.objects.clear()
    writing.forget()
    return asked


def at(writing, small, part: str) -> int:
    """The number of the first request with `part` in it."""
    return next(n for n, asked in enumerate(numbered(writing, small), 1) if part in asked)
