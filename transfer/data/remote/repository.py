"""One revision of a dataset on the Hub, opened with the current token."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from transfer import hub
from transfer.cache.paths import private_folder
from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.remote.columns import (
    ROWS_IN_HEAD,
    Columns,
    LoadOptions,
    NoLabelsError,
    choose_columns,
)
from transfer.data.remote.files import DatasetFiles, HubFiles

READ_AHEAD_BYTES = 2**20  # after each row group; by default `datasets` takes five times that


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A dataset at the revision that the Hub names now; `closed`: private or gated."""

    name: str
    revision: str
    closed: bool

    @property
    def address(self) -> str:
        """With hf://, a local folder of the same name is not taken instead."""
        return f"hf://datasets/{self.name}"

    def files(self) -> HubFiles:
        root = f"{self.address}@{self.revision}/"
        return HubFiles(root=root, repository=self.name, revision=self.revision, token=_token())

    def downloaded_files(self) -> DatasetFiles:
        """Where `datasets` puts them when it downloads them."""
        return DatasetFiles(root=f"{self._shared_folder()}/snapshots/{self.revision}/")

    def empty(self, options: LoadOptions, columns: Columns, classes: tuple) -> ImageDataset:
        """Without splits."""
        return ImageDataset(
            source=f"hub:{self.name}" + (f" ({options.config})" if options.config else ""),
            revision=self.revision,
            classes=classes,
            splits={},
            image_column=columns.image,
            label_column=columns.label,
            problems=columns.problems,
        )

    def builder(self, config: str | None):
        """The `datasets` builder of exactly this revision. Raises its errors, or HubUnavailable."""
        builder = self._build(config, self._cache())
        if builder.hash != self.revision:
            # `datasets` hides any error behind an older download; with an empty cache it raises it
            with tempfile.TemporaryDirectory() as empty:
                self._build(config, empty)
            raise hub.HubUnavailable
        return builder

    def variant(self, builder, **options):
        """The same builder with other options, without listing the repository's files again."""
        return type(builder)(
            cache_dir=self._cache(),
            dataset_name=builder.dataset_name,
            config_name=builder.config.name,
            hash=builder.hash,
            base_path=builder.base_path,
            repo_id=builder.repo_id,
            token=builder.token,
            storage_options=builder.storage_options,
            **options,
        )

    def config_names(self) -> list[str]:
        from datasets import get_dataset_config_names

        return get_dataset_config_names(
            self.address, revision=self.revision, download_config=_download_config()
        )

    def _build(self, config: str | None, cache: str | None):
        from datasets import load_dataset_builder

        return load_dataset_builder(
            self.address,
            config,
            revision=self.revision,
            cache_dir=cache,
            token=_token(),
            download_config=_download_config(cache),
            storage_options={"hf": {"block_size": READ_AHEAD_BYTES}},
        )

    def _cache(self) -> str | None:
        """None: the cache that all programs share. Nothing closed goes there but the dataset card,
        which `datasets` always reads through it: so that folder is locked to other users."""
        if not self.closed:
            return None
        folder = self._shared_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        return str(private_folder("private"))

    def _shared_folder(self) -> Path:
        """Where `huggingface_hub` stores what it downloads of the repository."""
        from huggingface_hub import constants

        name = f"datasets--{self.name.replace('/', '--')}"
        return Path(os.path.abspath(constants.HF_HUB_CACHE)) / name  # noqa: PTH100, resolves ".."


def pin(name: str) -> Repository:
    """The current revision, if the current token may read it. Raises the Hub's errors."""
    from huggingface_hub import HfApi

    info = hub.with_deadline(lambda: HfApi().dataset_info(name, timeout=hub.ANSWER_SECONDS))
    if info.gated:  # everyone sees that it exists, not everyone may read its files
        hub.with_deadline(lambda: HfApi().auth_check(info.id, repo_type="dataset"))
    return Repository(name=info.id, revision=info.sha, closed=bool(info.private or info.gated))


def _token() -> str | None:
    """Always passed explicitly: the clients remember what they were refused without one."""
    from huggingface_hub import get_token

    return get_token()


def _download_config(cache: str | None = None):
    from datasets import DownloadConfig

    return DownloadConfig(cache_dir=cache and f"{cache}/downloads", token=_token())


def open_with_labels(
    repository: Repository, options: LoadOptions, files: DatasetFiles, load: Callable
) -> tuple:
    """(the table that `load` makes of a builder, the columns to use). Raises SourceError.

    `load(builder, files)` returns a Table; given files, it adds a column "label" of their folders.
    Those are the labels of an image folder whose metadata is missing or holds none: `datasets` does
    not find them in archives, nor beside metadata.
    """
    builder = repository.builder(options.config)
    if builder.name != "imagefolder":
        table = load(builder, None)
        return table, choose_columns(table, files, options)
    with_metadata = load(repository.variant(builder, drop_labels=True), None)
    try:
        return with_metadata, choose_columns(with_metadata, files, options)
    except NoLabelsError as error:
        missing = error
    table = load(repository.variant(builder, drop_labels=True, drop_metadata=True), files)
    columns = choose_columns(table, files, replace(options, label_column="label"))
    if not any(table.values("label", ROWS_IN_HEAD)):
        raise missing
    if len(with_metadata.features) == 1:
        return table, columns
    why = "the folders' names are the labels: the metadata has none"
    return table, replace(
        columns, problems=(*columns.problems, DataIssue("column 'label'", why, 0))
    )
