"""A data set of the Hugging Face Hub, read with `datasets`; its own code is never run.

An open one is downloaded into the cache that `datasets` shares with all programs. One that is
private or gated, or of which only some images a class are wanted, is streamed into a folder of our
own, and only after the Hub has just confirmed access with the present token. So is each that a
stranger names: our own folders are bounded, that cache is not.
"""

import errno
from collections.abc import Iterator
from dataclasses import asdict

from transfer import hub
from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.remote import snapshot
from transfer.data.remote.columns import LoadOptions
from transfer.data.remote.download import read_downloaded
from transfer.data.remote.repository import Repository, pin
from transfer.data.remote.streaming import read_streamed
from transfer.errors import SourceError


def open_hub(
    name: str,
    *,
    config: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    limit_per_class: int | None = None,
    seed: int = 0,
) -> ImageDataset:
    """Pinned to the revision that the Hub names now. Raises SourceError, or CacheError.

    With a limit only as much is downloaded as it takes to find so many images of each class, drawn
    by the seed; without the Hub, what was once taken so from an open data set is used again.
    """
    wish = LoadOptions(
        config=config,
        image_column=image_column,
        label_column=label_column,
        limit_per_class=limit_per_class,
        seed=seed if limit_per_class else 0,
    )
    try:
        repository = pin(name)
    except hub.HubUnavailable as error:
        return _taken_before(name, wish, error)
    except Exception as error:
        raise hub.explain(error, "data set", name, SourceError) from None
    images = _read(repository, wish)
    if "/" in name and name != repository.name:
        images = _told(images, name, f"it is now called {repository.name!r}")
    return images


def _taken_before(name: str, wish: LoadOptions, error: hub.HubUnavailable) -> ImageDataset:
    """Never of a closed data set, for nobody says now who may read it."""
    images = snapshot.find_public(name, asdict(wish)) if wish.limit_per_class else None
    if images is None:
        raise hub.explain(error, "data set", name, SourceError) from None
    why = f"the Hub does not answer: images taken before, of revision {images.revision[:12]}"
    return _told(images, name, why)


def _told(images: ImageDataset, name: str, why: str) -> ImageDataset:
    return images.with_splits(images.splits, DataIssue(where=f"hub:{name}", why=why, skipped=0))


def _read(repository: Repository, wish: LoadOptions) -> ImageDataset:
    """Given up when the Hub falls silent, however far it has come."""
    from huggingface_hub import HfApi

    bounded = repository.closed or wish.limit_per_class or hub.on_space()
    read = read_streamed if bounded else read_downloaded
    try:
        return hub.wait_for(
            lambda: read(repository, wish),
            lambda: HfApi().dataset_info(repository.name, timeout=hub.PING_SECONDS),
        )
    except Exception as error:
        meaning = _meaning(error, repository, wish)
        raise hub.explain(meaning, "data set", repository.name, SourceError) from None


def _meaning(error: Exception, repository: Repository, wish: LoadOptions) -> Exception:
    """What `datasets` means by an error of its many kinds."""
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetGenerationError
    from datasets.table import CastError

    name = repository.name
    causes = list(_causes(error))
    if any(hub.is_unavailable(cause) for cause in causes):
        return hub.HubUnavailable()
    if any(_is_full_disk(cause) for cause in causes):
        return SourceError(
            f"expected room on the disk for the data set {name!r}, found too little; free some, or "
            "pass --limit-per-class"
        )
    if isinstance(error, ValueError) and "onfig" in str(error):
        return _unknown_config(repository, wish.config)
    if any(isinstance(cause, CastError) for cause in causes):
        return SourceError(
            f"expected the same columns in all files of the data set {name!r}, found different "
            "ones; choose another data set, or one of its configs with --config"
        )
    nothing = (ValueError, EmptyDatasetError, DataFilesNotFoundError, DatasetGenerationError)
    if isinstance(error, nothing) or "Dataset scripts" in str(error):
        return SourceError(
            f"the data set {name!r} holds nothing that `datasets` can read without running its "
            "code; choose one in Parquet or as an image folder"
        )
    # a bare FileNotFoundError is its word for a Hub that fails halfway
    return hub.HubUnavailable() if type(error) is FileNotFoundError else error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_full_disk(error: BaseException) -> bool:
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return full or (isinstance(error, OSError) and "enough disk space" in str(error))


def _unknown_config(repository: Repository, config: str | None) -> Exception:
    from datasets import get_dataset_config_names

    def ask_names() -> list[str]:
        return get_dataset_config_names(
            repository.address,
            revision=repository.revision,
            download_config=repository.download_config(),
        )

    try:
        names = ", ".join(hub.with_deadline(ask_names, hub.PING_SECONDS)[:20])
    except Exception as error:
        return error
    return SourceError(
        f"expected one of the configs of {repository.name!r} ({names}), found {config or 'none'}; "
        "pass --config"
    )
