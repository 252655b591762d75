"""A dataset of the Hugging Face Hub, read with `datasets`; its own code is never run.

A public one is downloaded into the cache that `datasets` shares with all programs. These are
streamed into a bounded folder of our own: a private or gated one, one of which only some images a
class are wanted, and any that a visitor of a public server names. A private or gated one is opened
only after the Hub has just confirmed that the current token may read it.
"""

import errno
from dataclasses import asdict
from pathlib import Path

from transfer import hub
from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.remote import snapshot
from transfer.data.remote.columns import LoadOptions
from transfer.data.remote.download import read_downloaded
from transfer.data.remote.repository import Repository, pin
from transfer.data.remote.streaming import read_streamed
from transfer.errors import SourceError
from transfer.machine.environment import is_shared


def open_hub(name: str, options: LoadOptions) -> ImageDataset:
    """Pinned to the revision that the Hub names now. Raises SourceError, or CacheError.

    With a limit only as much is downloaded as it takes to find so many images of each class, drawn
    by the seed; without the Hub, an earlier snapshot of a public dataset is used again.
    """
    try:
        repository = pin(name)
    except hub.HubUnavailable as error:
        return _earlier_snapshot(name, options, error)
    except Exception as error:
        raise hub.explain(error, "dataset", name, SourceError) from None
    images = _read(repository, options)
    if "/" in name and name != repository.name:
        images = _with_note(images, name, f"it is now called {repository.name!r}")
    return images


def is_local(name: str, options: LoadOptions) -> bool:
    """Whether the images of a public dataset are on this machine. Raises the Hub's errors."""
    if options.limit_per_class or is_shared():
        return snapshot.find_public(name, asdict(options)) is not None
    return Path(pin(name).builder(options.config).cache_dir).is_dir()


def _earlier_snapshot(name: str, options: LoadOptions, error: hub.HubUnavailable) -> ImageDataset:
    """Never of a private or gated dataset: nobody confirms who may read it."""
    images = snapshot.find_public(name, asdict(options)) if options.limit_per_class else None
    if images is None:
        raise hub.explain(error, "dataset", name, SourceError) from None
    why = f"the Hub does not answer: images saved earlier, of revision {images.revision[:12]}"
    return _with_note(images, name, why)


def _with_note(images: ImageDataset, name: str, why: str) -> ImageDataset:
    return images.with_splits(images.splits, DataIssue(f"hub:{name}", why, skipped=0))


def _read(repository: Repository, options: LoadOptions) -> ImageDataset:
    """Gives up when the Hub stops answering, however far it has come."""
    from huggingface_hub import HfApi

    own_cache = repository.closed or options.limit_per_class or is_shared()
    read = read_streamed if own_cache else read_downloaded
    try:
        return hub.wait_for(
            lambda: read(repository, options),
            lambda: HfApi().dataset_info(repository.name, timeout=hub.PING_SECONDS),
        )
    except Exception as error:
        meaning = _meaning(error, repository, options)
        raise hub.explain(meaning, "dataset", repository.name, SourceError) from None


def _meaning(error: Exception, repository: Repository, options: LoadOptions) -> Exception:
    """A sentence for what `datasets` raises, or the error itself."""
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetGenerationError
    from datasets.table import CastError

    name = repository.name
    causes = [error]
    while cause := causes[-1].__cause__:
        causes.append(cause)
    if any(hub.is_unavailable(cause) for cause in causes):
        return hub.HubUnavailable()
    if any(_is_full_disk(cause) for cause in causes):
        return SourceError(
            f"expected room on the disk for the dataset {name!r}, found too little; free some, or "
            "pass --limit-per-class"
        )
    if isinstance(error, ValueError) and "onfig" in str(error):
        return _unknown_config(repository, options.config)
    if any(isinstance(cause, CastError) for cause in causes):
        return SourceError(
            f"expected the same columns in all files of the dataset {name!r}, found different "
            "ones; choose another dataset, or one of its configs with --config"
        )
    unreadable = (ValueError, EmptyDatasetError, DataFilesNotFoundError, DatasetGenerationError)
    if isinstance(error, unreadable) or "Dataset scripts" in str(error):
        return SourceError(
            f"the dataset {name!r} holds nothing that `datasets` can read without running its "
            "code; choose one in Parquet or as an image folder"
        )
    # `datasets` raises a plain FileNotFoundError when the Hub fails halfway
    return hub.HubUnavailable() if type(error) is FileNotFoundError else error


def _is_full_disk(error: BaseException) -> bool:
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return full or (isinstance(error, OSError) and "enough disk space" in str(error))


def _unknown_config(repository: Repository, config: str | None) -> Exception:
    try:
        names = ", ".join(hub.with_deadline(repository.config_names, hub.PING_SECONDS)[:20])
    except Exception as error:
        return error
    return SourceError(
        f"expected one of the configs of {repository.name!r} ({names}), found {config or 'none'}; "
        "pass --config"
    )
