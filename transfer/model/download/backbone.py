"""A file of weights on the Hub: found on this machine, fetched in part, or as a whole."""

from collections.abc import Iterator
from pathlib import Path

from transfer import hub
from transfer.errors import WeightsError
from transfer.events import BodyProgress
from transfer.model.download.partial import fetching_tensors, kept_tensors
from transfer.model.download.range_requests import NoRanges


def at_hand(
    repository: str, filename: str, revision: str | None, prefix: str
) -> tuple[Path, str, str] | None:
    """(file, commit, where it was) without asking anybody: the Hub's cache, else our own."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        path = hf_hub_download(repository, filename, revision=revision, local_files_only=True)
        return Path(path), Path(path).parent.name, "the local Hub cache"
    except (LocalEntryNotFoundError, HFValidationError):
        kept = kept_tensors(repository, filename, revision, prefix)
        return kept and (*kept, "the cache of downloaded bodies")


def fetching(
    repository: str, filename: str, revision: str | None, prefix: str
) -> Iterator[BodyProgress]:
    """Fetch the tensors whose names begin with `prefix`, or the whole file where that is not to be.

    Yields how far it is, returns (file, commit). Raises WeightsError or CacheError.
    """
    try:
        return (yield from fetching_tensors(repository, filename, revision, prefix))
    except NoRanges as no_ranges:
        file_bytes = no_ranges.bytes
    try:
        path = yield from _fetching_whole(repository, filename, revision, file_bytes or 0)
    except Exception as error:
        raise hub.explain(error, "model", repository, WeightsError) from None
    return path, path.parent.name


def _fetching_whole(
    repository: str, filename: str, revision: str | None, file_bytes: int
) -> Iterator[BodyProgress]:
    """Into the Hub's own cache."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.utils import silent_tqdm

    come = 0

    class Counted(silent_tqdm):
        def __init__(self, *_, initial: int = 0, **__):
            self.update(initial)

        def update(self, n: float | None = 1) -> None:
            nonlocal come
            come += int(n or 0)

    # by branch, not by commit: only so is it found in the cache again without the Hub
    steps = hub.wait_in_steps(
        lambda: hf_hub_download(repository, filename, revision=revision, tqdm_class=Counted),
        lambda: HfApi().model_info(repository, timeout=hub.PING_SECONDS),
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return Path(end.value)
        yield BodyProgress(done_bytes=min(come, file_bytes), total_bytes=file_bytes)
