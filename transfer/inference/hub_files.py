"""A model repository on the Hub at one commit, and the few of its files that are needed.

Those of an open one go into the Hub's own cache, which all programs share. Those of one that is
private or gated go into a folder of our own, and are used only after the Hub has just confirmed
access with the token at hand. Those that a visitor asks for go there as well: it is bounded.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from transfer import hub
from transfer.cache.downloads import missing_bytes, open_models
from transfer.errors import RunError
from transfer.inference.timm_config import CONFIG
from transfer.runs.run import RECORD, REPORT, TENSORS

WORD = r"(?![.~-])[\w.-]{1,96}(?<![.-])"
HUB_ID = re.compile(rf"({WORD}/{WORD})(?:@(.+))?", re.ASCII)
REVISION = re.compile(r"(?!.*\.\.)\w[\w./+-]{0,199}", re.ASCII)
SCHEME = re.compile(r"^https?://", re.IGNORECASE)
SITES = ("https://huggingface.co", "https://www.huggingface.co", "https://hf.co")
AT_A_REVISION = ("tree", "blob", "resolve", "commit")
OTHER_KINDS = {"datasets": "a data set", "spaces": "a Space"}
MOST_TENSOR_BYTES, MOST_JSON_BYTES = 2 * 2**30, 32 * 2**20
Token = str | bool | None


@dataclass(frozen=True, kw_only=True)
class Address:
    """`revision` is a branch, a tag or a commit; None is the repository's main branch."""

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository


def parse_address(text: str) -> Address | None:
    """`user/name`, `user/name@revision` or a link to one; None if it is neither.

    Raises RunError for a link that leads elsewhere.
    """
    if (rest := _path_on_the_hub(text)) is not None:
        return _from_link(rest)
    if "://" in text:
        raise RunError(
            f"expected a link to a model on the Hub, like {SITES[0]}/user/name, found another one"
        )
    return _address(text)


def _address(text: str) -> Address | None:
    found = HUB_ID.fullmatch(text)
    if found is None or (found[2] and not REVISION.fullmatch(found[2])):
        return None
    return Address(repository=found[1], revision=found[2])


def _path_on_the_hub(link: str) -> str | None:
    from huggingface_hub import constants

    bare = SCHEME.sub("", link)
    for site in (constants.ENDPOINT, *SITES):
        start = SCHEME.sub("", site.rstrip("/")) + "/"
        if bare.lower().startswith(start.lower()):
            return urlsplit(f"//{bare}").path.removeprefix(urlsplit(f"//{start}").path)
    return None


def _from_link(path: str) -> Address:
    names = [unquote(name) for name in path.split("/") if name]
    if names and names[0] in OTHER_KINDS:
        raise RunError(f"expected a link to a model, found one to {OTHER_KINDS[names[0]]}")
    given = len(names) > 3 and names[2] in AT_A_REVISION and names[3] != "main"
    address = _address("/".join(names[:2]) + (f"@{names[3]}" if given else ""))
    if address is None:
        raise RunError(f"expected a link like {SITES[0]}/user/name, found none to a model")
    return address


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """`files` is name → bytes of all that the repository holds at `commit`.

    `kept` is where they lie when the Hub was not asked; else they are fetched into `cache`, or,
    where that is None, into the Hub's own.
    """

    address: Address
    commit: str
    files: dict[str, int]
    kept: Path | None = None
    cache: Path | None = None
    token: Token = field(default=None, repr=False)

    def fetch(self, *names: str) -> Path:
        """The folder in which these files lie. Raises RunError."""
        if self.kept:
            return self.kept
        for name in names:
            self._check_size(name)
        self._make_room(names)
        try:
            paths = hub.wait_for(lambda: [self._download(name) for name in names], self._look)
        except Exception as error:
            raise _explained(error, self.address) from None
        if TENSORS in names and not self.cache:
            self._remember()
        return Path(paths[0]).parent

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """It is not removed to make room for another while it is fetched and read."""
        if self.cache is None:
            yield
            return
        model = open_models().of(self.address.repository)
        with model.lock:
            yield
            model.touch()

    def _make_room(self, names: tuple[str, ...]) -> None:
        """Raises CacheError."""
        if self.cache is None:
            return
        models = open_models()
        model = models.of(self.address.repository)
        wanted = {name: self.files[name] for name in names}
        if missing := missing_bytes(model.path / "snapshots" / self.commit, wanted):
            models.make_room(missing, keep=(model,))

    def _check_size(self, name: str) -> None:
        most = MOST_TENSOR_BYTES if name.endswith(".safetensors") else MOST_JSON_BYTES
        if self.files[name] > most:
            raise RunError(
                f"expected at most {most / 1e6:,.0f} MB in {name} of {str(self.address)!r}, found "
                f"{self.files[name] / 1e6:,.0f} MB, so it is not downloaded; choose another model"
            )

    def _download(self, name: str) -> str:
        from huggingface_hub import hf_hub_download

        return hf_hub_download(
            self.address.repository,
            name,
            revision=self.commit,
            cache_dir=self.cache,
            token=self.token,
        )

    def _look(self) -> object:
        return _info(self.address, self.token, seconds=hub.PING_SECONDS)

    def _remember(self) -> None:
        """So that the branch leads to this commit when the Hub is away; no harm where it fails."""
        from huggingface_hub import HfApi

        if _kept_commit(self.address) == self.commit:
            return
        try:
            hub.with_deadline(
                lambda: HfApi(token=self.token).resolve_revision(
                    self.address.repository, revision=self.address.revision
                )
            )
        except Exception:
            return


def find_model(address: Address, token: Token = None) -> ModelFiles:
    """What the Hub has there now, or, where it does not answer, what this machine has of it.

    `token` is a visitor's (False: one who is not signed in), who then gets nothing without the
    Hub's word; None is that of whoever runs this. Raises RunError.
    """
    from huggingface_hub import get_token

    try:
        known = get_token() if token is None else token
        return _pinned(address, known, is_a_visitors=token is not None)
    except hub.HubUnavailable as error:
        kept = _kept(address) if token is None else None
        if kept is None:
            raise _explained(error, address) from None
        return kept
    except Exception as error:
        raise _explained(error, address) from None


def _pinned(address: Address, token: Token, *, is_a_visitors: bool) -> ModelFiles:
    """If the token may read it; the Hub's own errors, or HubUnavailable."""
    from huggingface_hub import HfApi

    info = hub.with_deadline(lambda: _info(address, token, files_metadata=True))
    if info.gated:  # it is listed for everyone, its files are not
        hub.with_deadline(lambda: HfApi(token=token).auth_check(info.id))
    closed = bool(info.private or info.gated)
    return ModelFiles(
        address=Address(repository=info.id, revision=address.revision),
        commit=info.sha,
        files={file.rfilename: file.size or 0 for file in info.siblings or ()},
        cache=open_models().folder if closed or is_a_visitors else None,
        token=token,
    )


def _info(address: Address, token: Token, seconds: float = hub.ANSWER_SECONDS, **more):
    from huggingface_hub import HfApi

    return HfApi(token=token).model_info(
        address.repository, revision=address.revision, timeout=seconds, **more
    )


def _kept(address: Address) -> ModelFiles | None:
    """What the Hub's own cache has of it, if it is enough."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    if not (commit := _kept_commit(address)):
        return None
    name = repo_folder_name(repo_id=address.repository, repo_type="model")
    folder = Path(constants.HF_HUB_CACHE) / name / "snapshots" / commit
    # a link of it leads nowhere where a download was broken off
    files = {path.name: path.stat().st_size for path in folder.glob("*") if path.is_file()}
    if TENSORS not in files or not ({RECORD, REPORT} <= files.keys() or CONFIG in files):
        return None
    return ModelFiles(address=address, commit=commit, files=files, kept=folder)


def _kept_commit(address: Address) -> str | None:
    """The commit to which the branch led when the Hub was last asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionResolutionError

    try:
        return (
            HfApi()
            .resolve_revision(address.repository, revision=address.revision, local_files_only=True)
            .resolved
        )
    except (RevisionResolutionError, OSError, ValueError):
        return None


def _explained(error: Exception, address: Address) -> Exception:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"expected room on the disk for the model {str(address)!r}, found too little; free some"
        )
    return hub.explain(error, "model", str(address), RunError)
