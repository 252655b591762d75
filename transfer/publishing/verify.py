"""What stands on the Hub after a commit, compared with what was sent."""

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import PublishError, RunError, TransferError
from transfer.publishing.commit import HubCommit, differing
from transfer.publishing.retry import Waiting
from transfer.publishing.upload import FileDigest
from transfer.runs.run import RECORD, TENSORS, read_run

if TYPE_CHECKING:
    from transfer.publishing.bundle import Bundle

DOWNLOAD_SECONDS = 600.0


def reading_back(
    delivery: HubCommit, files: dict[str, FileDigest], bundle: "Bundle", folder: Path
) -> Generator[Waiting, None, None]:
    """Raises PublishError unless the commit holds what was sent; a head is loaded as well."""
    try:
        wrong = differing((yield from delivery.held(delivery.commit, files)), files)
        if wrong is None and bundle.what == "head":
            wrong = yield from _wrong_download(delivery, files, bundle, folder)
    except TransferError:
        raise
    except Exception:
        raise PublishError(
            f"all files went to {delivery.url}, but the Hub did not let them be read back; look "
            "there, or publish again: nothing is sent twice"
        ) from None
    if wrong is not None:
        raise PublishError(
            f"expected {wrong} at {delivery.url} as it was sent, found it missing or different; "
            "publish again"
        )


def _wrong_download(
    delivery: HubCommit, files: dict[str, FileDigest], bundle: "Bundle", folder: Path
) -> Generator[Waiting, None, str | None]:
    """The name of a file of the run that comes back different or cannot be read."""
    from safetensors import SafetensorError, safe_open

    for name in bundle.files:
        path = yield from downloading(delivery, name, delivery.commit, folder)
        if FileDigest.of(path).sha256 != files[name].sha256:
            return name
    try:
        read_run(folder)
    except RunError:
        return RECORD
    try:
        with safe_open(folder / TENSORS, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (it is no dict)
                tensors.get_tensor(name)
    except SafetensorError:
        return TENSORS
    return None


def downloading(
    delivery: HubCommit, name: str, commit: str, folder: Path
) -> Generator[Waiting, None, Path]:
    """Into a folder of our own: what is private must not come into a cache that others share."""
    fetch = partial(
        delivery.api.hf_hub_download, delivery.repository, name, revision=commit, local_dir=folder
    )
    return Path((yield from delivery.ask(fetch, DOWNLOAD_SECONDS)))
