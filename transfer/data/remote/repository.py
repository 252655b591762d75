"""One revision of a data set on the Hub, and what reads it with the present token."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from transfer import hub
from transfer.cache.paths import private_folder
from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.remote.cells import Files, HubFiles
from transfer.data.remote.columns import Columns, LoadOptions, NoLabelsError, choose_columns

READ_AHEAD_BYTES = 2**20  # after each row group; five times that unless asked for


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A data set as the Hub names it now; `closed` where not everyone may read it."""

    name: str
    revision: str
    closed: bool

    @property
    def address(self) -> str:
        """With hf://, a local folder of the same name is not taken instead."""
        return f"hf://datasets/{self.name}"

    def files(self) -> HubFiles:
        return HubFiles(
            root=f"{self.address}@{self.revision}/",
            repository=self.name,
            revision=self.revision,
            token=token(),
        )

    def downloaded_files(self) -> Files:
        """Where `datasets` finds them once they are downloaded."""
        return Files(root=f"{self._folder()}/snapshots/{self.revision}/")

    def empty(self, wish: LoadOptions, columns: Columns) -> ImageDataset:
        """All that is known before a row is read."""
        return ImageDataset(
            source=f"hub:{self.name}" + (f" ({wish.config})" if wish.config else ""),
            revision=self.revision,
            classes=(),
            splits={},
            image_column=columns.image,
            label_column=columns.label,
            problems=columns.problems,
        )

    def builder(self, config: str | None):
        """The `datasets` builder of exactly this revision; its errors, or HubUnavailable."""
        builder = self._build(config, self._cache())
        if builder.hash == self.revision:
            return builder
        # after any error it falls back on what it once downloaded; without that, it tells the error
        with tempfile.TemporaryDirectory() as nothing:
            self._build(config, nothing)
        raise hub.HubUnavailable

    def variant(self, builder, **options):
        """The same builder with other options of its kind, without a listing of all files."""
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

    def _build(self, config: str | None, cache: str | None):
        from datasets import load_dataset_builder

        return load_dataset_builder(
            self.address,
            config,
            revision=self.revision,
            cache_dir=cache,
            token=token(),
            download_config=self.download_config(cache),
            storage_options={"hf": {"block_size": READ_AHEAD_BYTES}},
        )

    def _cache(self) -> str | None:
        """None is the cache that all programs share."""
        if not self.closed:
            return None
        self._shut_off()
        return str(private_folder("private"))

    def download_config(self, cache: str | None = None):
        from datasets import DownloadConfig

        return DownloadConfig(cache_dir=cache and f"{cache}/downloads", token=token())

    def _folder(self) -> Path:
        """Where `huggingface_hub` keeps what it downloads of the repository."""
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        name = repo_folder_name(repo_id=self.name, repo_type="dataset")
        return Path(os.path.abspath(constants.HF_HUB_CACHE)) / name  # noqa: PTH100

    def _shut_off(self) -> None:
        """`datasets` reads a set's card through the shared cache: only its owner may look in."""
        folder = self._folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)


def pin(name: str) -> Repository:
    """As the Hub names it now, if the present token may read it; its errors, or HubUnavailable."""
    from huggingface_hub import HfApi

    info = hub.with_deadline(lambda: HfApi().dataset_info(name, timeout=hub.ANSWER_SECONDS))
    if info.gated:  # it is listed for everyone, its files are not
        hub.with_deadline(lambda: HfApi().auth_check(info.id, repo_type="dataset"))
    closed = bool(info.private or info.gated)
    return Repository(name=info.id, revision=info.sha, closed=closed)


def token() -> str | None:
    """Passed on by name: the clients remember what they were refused without one."""
    from huggingface_hub import get_token

    return get_token()


def is_image_folder(builder) -> bool:
    return builder.name == "imagefolder"


def open_with_labels(
    repository: Repository, wish: LoadOptions, files: Files, load: Callable
) -> tuple:
    """(what `load` makes of the builder, the columns to use). Raises SourceError.

    `load(builder, files)` looks like Loaded; given files, it adds a column "label" of their
    folders. These are the labels of an image folder that has no metadata, or none with labels.
    """
    builder = repository.builder(wish.config)
    if not is_image_folder(builder):
        loaded = load(builder, None)
        return loaded, choose_columns(loaded.look(), files, wish)
    # `datasets` finds no labels in archives, nor beside metadata, so that they are found here
    loaded = load(repository.variant(builder, drop_labels=True), None)
    look = loaded.look()
    try:
        return loaded, choose_columns(look, files, wish)
    except NoLabelsError as error:
        missing = error
    loaded = load(repository.variant(builder, drop_labels=True, drop_metadata=True), files)
    columns = choose_columns(loaded.look(), files, replace(wish, label_column="label"))
    if not any(loaded.look().head("label")):
        raise missing
    if len(look.features) == 1:
        return loaded, columns
    why = "the folders' names, for the metadata has no labels"
    told = DataIssue(where="column 'label'", why=why, skipped=0)
    return loaded, replace(columns, problems=(*columns.problems, told))
