"""A model repository on the Hub at one commit, and the few of its files that are needed.

Files of open repositories go into the Hub's own cache. Files of private and gated ones, and those
that visitors ask for, go into a bounded folder of our own, and are used only after the Hub has just
confirmed access with the visitor's token.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from transfer import hub
from transfer.cache.downloads import open_models
from transfer.errors import RunError
from transfer.inference.timm_config import CONFIG
from transfer.runs.run import FAMILIARITY, RECORD, REPORT, TENSORS

REVISION = re.compile(r"(?!.*\.\.)\w[\w./+-]{0,199}", re.ASCII)
MAX_TENSOR_BYTES = 2 * 2**30  # VGG19 in float32, with its head, has 0.6 GB
MAX_JSON_BYTES = 32 * 2**20
Token = str | bool | None


@dataclass(frozen=True, kw_only=True)
class Address:
    repository: str
    revision: str | None = None  # a branch, a tag or a commit; None is the main branch

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository


def parse_address(text: str) -> Address | None:
    """`user/name`, `user/name@revision` or a link to a model's page; None if it is neither. Raises
    RunError for a link that leads elsewhere."""
    link = _parse(text)
    if (link is None and "://" in text) or (link and link.type != "model"):
        raise RunError(
            "expected a link to a model on the Hub, like https://huggingface.co/user/name, found "
            f"{f'one to a {link.type}' if link else 'another one'}"
        )
    found = link or (None if text.startswith("/") else _parse(f"hf://{text}"))
    if found is None or found.type != "model" or (found.path_in_repo and not link):
        return None
    fits = not found.revision or REVISION.fullmatch(found.revision)
    return Address(repository=found.id, revision=found.revision) if fits else None


def _parse(text: str):
    """A `huggingface_hub.HfUri` or None."""
    from huggingface_hub import constants, parse_hf_uri

    try:
        return parse_hf_uri(text, endpoint=constants.ENDPOINT)
    except ValueError:  # HfUriError is one
        return None


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    address: Address
    commit: str
    files: dict[str, int]  # name → bytes of all that the repository holds at `commit`
    snapshot: Path | None = None  # the folder they are in where the Hub did not answer
    cache: Path | None = None  # where they are downloaded to; None: the Hub's own cache
    token: Token = field(default=None, repr=False)

    def fetch(self, *names: str) -> Path:
        """The folder with these files, downloaded if missing. Raises RunError or CacheError."""
        if self.snapshot:
            return self.snapshot
        self._check_sizes(names)
        if self.cache:
            self._make_room(names)
        try:
            paths = hub.wait_for(
                lambda: [self._download(name) for name in names],
                ping=lambda: _info(self.address, self.token, timeout=hub.PING_SECONDS),
            )
        except Exception as error:
            raise _explained(error, self.address) from None
        if TENSORS in names and not self.cache:
            self._save_branch()
        return Path(paths[0]).parent

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """It is not removed to make room for another while it is downloaded and read."""
        model = open_models().of(self.address.repository) if self.cache else None
        with model.lock if model else nullcontext():
            yield
            if model:
                model.touch()

    def _check_sizes(self, names: tuple[str, ...]) -> None:
        """Before a byte is downloaded."""
        for name in names:
            most = MAX_TENSOR_BYTES if name == TENSORS else MAX_JSON_BYTES
            if self.files[name] > most:
                raise RunError(
                    f"expected at most {most / 1e6:,.0f} MB in {name} of {str(self.address)!r}, "
                    f"found {self.files[name] / 1e6:,.0f} MB; choose another model"
                )

    def _make_room(self, names: tuple[str, ...]) -> None:
        models = open_models()
        model = models.of(self.address.repository)
        folder = model.path / "snapshots" / self.commit
        if missing := sum(self.files[name] for name in names if not (folder / name).exists()):
            models.make_room(missing, keep=(model,))

    def _download(self, name: str) -> str:
        from huggingface_hub import hf_hub_download

        place = {"revision": self.commit, "cache_dir": self.cache, "token": self.token}
        return hf_hub_download(self.address.repository, name, **place)

    def _save_branch(self) -> None:
        """Which commit the branch points to, so that it is found without the Hub too."""
        from huggingface_hub import HfApi

        api, at = HfApi(token=self.token), self.address
        with suppress(Exception):
            hub.with_deadline(lambda: api.resolve_revision(at.repository, revision=at.revision))


def find_model(address: Address, token: Token = None) -> ModelFiles:
    """What the Hub has now, or, where it does not answer, what this machine has downloaded.

    `token` is a visitor's (False: not signed in), who gets nothing unless the Hub answers; None
    stands for the token of the user who runs this. Raises RunError.
    """
    from huggingface_hub import get_token

    try:
        known = get_token() if token is None else token
        return _ask_hub(address, known, is_visitor=token is not None)
    except Exception as error:
        unavailable = isinstance(error, hub.HubUnavailable)
        if unavailable and token is None and (downloaded := _downloaded(address)):
            return downloaded
        raise _explained(error, address) from None


def _ask_hub(address: Address, token: Token, *, is_visitor: bool) -> ModelFiles:
    """Raises what the Hub's client raises, or HubUnavailable."""
    from huggingface_hub import HfApi

    info = hub.with_deadline(
        lambda: _info(address, token, timeout=hub.ANSWER_SECONDS, files_metadata=True)
    )
    if info.gated:  # anybody may see its metadata, not its files
        hub.with_deadline(lambda: HfApi(token=token).auth_check(info.id))
    closed = bool(info.private or info.gated)
    return ModelFiles(
        address=Address(repository=info.id, revision=address.revision),
        commit=info.sha,
        files={file.rfilename: file.size or 0 for file in info.siblings or ()},
        cache=open_models().folder if closed or is_visitor else None,
        token=token,
    )


def _info(at: Address, token: Token, **options):
    from huggingface_hub import HfApi

    return HfApi(token=token).model_info(at.repository, revision=at.revision, **options)


def _downloaded(address: Address) -> ModelFiles | None:
    """What the Hub's own cache holds of it, if that is enough to load it."""
    from huggingface_hub import try_to_load_from_cache

    paths = {}
    for name in (CONFIG, RECORD, REPORT, TENSORS, FAMILIARITY):
        path = try_to_load_from_cache(address.repository, name, revision=address.revision)
        if isinstance(path, str):
            paths[name] = Path(path)
    if TENSORS not in paths or not ({RECORD, REPORT} <= paths.keys() or CONFIG in paths):
        return None
    folder = paths[TENSORS].parent
    files = {name: path.stat().st_size for name, path in paths.items()}
    return ModelFiles(address=address, commit=folder.name, files=files, snapshot=folder)


def _explained(error: Exception, address: Address) -> Exception:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"the disk has no room for the model {str(address)!r}; free some")
    return hub.explain(error, "model", str(address), RunError)
