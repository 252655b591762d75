"""A Hub on loopback; the real `huggingface_hub` and `datasets` find it through HF_ENDPOINT."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote

from tests.ports import own_port

API = re.compile(
    r"/api/(?P<kind>datasets|models|spaces)/(?P<id>[^/]+(?:/[^/]+)?)"
    r"(?:/(?P<verb>revision|tree|paths-info)/(?P<revision>[^/]+)/?(?P<path>.*)|/auth-check)?"
)
FILE = re.compile(
    r"/(?P<kind>datasets/|spaces/)?(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"
)


FRIEND, STRANGER = "hf_friend", "hf_stranger"


@dataclass(frozen=True, kw_only=True)
class Repository:
    """`gated` is "" for an open one, "files" as on the real Hub, or "all" for the metadata too.

    Private and gated ones open with the token FRIEND. `claims` are sizes that the Hub reports for
    files in place of the true ones. Files in `lfs` are identified by sha256, others by git's id.
    """

    kind: str
    id: str
    files: dict[str, bytes]
    gated: str = ""
    private: bool = False
    claims: dict[str, int] = field(default_factory=dict)
    lfs: frozenset[str] = frozenset()
    sdk: str = "static"  # of a Space

    @property
    def sha(self) -> str:
        """A commit: 40 hexadecimal digits that change with the files."""
        digest = hashlib.sha1(self.id.encode())
        for name in sorted(self.files):
            digest.update(name.encode() + _etag(self.files[name]).encode())
        return digest.hexdigest()


class HubServer:
    """Serves the repositories added to it.

    `mood` is well, busy (503), halfway (503 for files only), silent (accepts, never answers), or
    tired (silent from the first data file on). `served` has (file, bytes sent) of each download.
    It speaks HTTP/1.0: a connection ends with its answer, so a stopped server is gone at once.
    """

    def __init__(self):
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.moved: dict[str, str] = {}
        self.requests: list[str] = []
        self.served: list[tuple[str, int]] = []
        self.mood = "well"
        self.awake = threading.Event()
        self.writing = None  # set by tests.hub_writing: a Hub to publish to
        self._place = ExitStack()
        self.port = self._place.enter_context(own_port())  # reserved while it is stopped, too
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self.server.daemon_threads = True
        self.server.block_on_close = False
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.awake.set()
        self.server.shutdown()
        self.server.server_close()

    def add(self, kind: str, name: str, files: dict[str, bytes], **more) -> Repository:
        """`kind` is datasets, models or spaces, `more` are fields of Repository."""
        repository = Repository(kind=kind, id=name, files=files, **more)
        self.repositories[kind, name] = repository
        return repository

    @contextmanager
    def in_mood(self, mood: str) -> Iterator[None]:
        self.mood = mood
        self.awake.clear()
        try:
            yield
        finally:
            self.mood = "well"
            self.awake.set()

    @contextmanager
    def gone(self) -> Iterator[None]:
        """The endpoint refuses connections."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def find(self, kind: str, name: str, revision: str | None = None) -> Repository | None:
        """By id or, as for the Hub's oldest repositories, by bare name; past commits where tests
        have written to it."""
        if self.writing and (past := self.writing.past.get((name, revision))):
            return past
        for (its_kind, its_id), repository in self.repositories.items():
            if its_kind == kind and name in (its_id, its_id.split("/")[1]):
                return repository
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(_Handler):
            def answer(self) -> None:
                if hub.writing:
                    hub.writing.around(self, self.reply)
                else:
                    self.reply()

            def reply(self) -> None:
                hub.requests.append(f"{self.command} {self.path}")
                is_file = "/resolve/" in self.path
                if hub.mood == "tired" and self.path.endswith((".parquet", ".png")):
                    hub.mood = "silent"
                if hub.mood == "silent":
                    hub.awake.wait(60)
                elif hub.mood == "busy" or (hub.mood == "halfway" and is_file):
                    self.send(503, b"Service Unavailable")
                else:
                    self.serve(hub)

            do_GET = do_HEAD = do_POST = do_DELETE = answer

        return Handler


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args) -> None:
        """Quiet: `HubServer.requests` has all requests."""

    def serve(self, hub: HubServer) -> None:
        path = unquote(self.path.split("?")[0])
        if hub.writing and hub.writing.serve(self, path):
            return
        found = API.fullmatch(path) or FILE.fullmatch(path)
        if found is None:
            self.refuse(404, "EntryNotFound")
        elif self.token not in (None, FRIEND, STRANGER):
            self.refuse(401, "", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif found["id"] in hub.moved:
            new = self.path.replace(found["id"], hub.moved[found["id"]], 1)
            self.send(307, b"", {"Location": new})
        elif found.re is API:
            repository = hub.find(found["kind"], found["id"], found["revision"])
            self.serve_api(self.known(repository), found)
        else:
            kind = (found["kind"] or "models").rstrip("/")
            repository = hub.find(kind, found["id"], found["revision"])
            self.serve_file(self.known(repository), found, hub)

    @property
    def token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def known(self, repository: Repository | None) -> Repository | None:
        """The repository, unless it is private and the token is not its friend's."""
        secret = repository and repository.private and self.token != FRIEND
        return None if secret else repository

    def unknown(self) -> None:
        """As the real Hub answers: 404 with a token, 401 without one."""
        self.refuse(404 if self.token else 401, "RepoNotFound")

    def is_shut(self, repository: Repository) -> bool:
        return bool(repository.gated) and self.token != FRIEND

    def serve_api(self, repository: Repository | None, asked: re.Match) -> None:
        if repository is None:
            self.unknown()
        elif self.is_shut(repository) and (repository.gated == "all" or "/auth-check" in self.path):
            self.refuse(403, "GatedRepo")
        elif asked["verb"] and asked["revision"] not in ("main", repository.sha):
            self.refuse(404, "RevisionNotFound")
        elif asked["verb"] in (None, "revision"):
            self.send_json(_info(repository))
        elif asked["verb"] == "paths-info":
            self.send_json(_paths_info(repository, self.asked_paths()))
        elif entries := _tree(repository, asked["path"], "recursive=true" in self.path.lower()):
            self.send_json(entries)
        else:
            self.refuse(404, "EntryNotFound")

    def serve_file(self, repository: Repository | None, asked: re.Match, hub: HubServer) -> None:
        if repository is None:
            self.unknown()
        elif self.is_shut(repository):
            self.refuse(403, "GatedRepo")
        elif asked["revision"] not in ("main", repository.sha):
            self.refuse(404, "RevisionNotFound")
        elif asked["path"] not in repository.files:
            self.refuse(404, "EntryNotFound", {"X-Repo-Commit": repository.sha})
        else:
            sent = self.send_range(repository.files[asked["path"]], repository.sha)
            hub.served.append((asked["path"], sent))

    def send_range(self, data: bytes, commit: str) -> int:
        """The number of bytes sent."""
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted is None:
            return self.send(200, data, headers)
        start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        if start >= len(data):
            return self.send(416, b"", headers)
        headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
        return self.send(206, data[start : end + 1], headers)

    def asked_paths(self) -> list[str]:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        return parse_qs(body)["paths"]

    def refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self.send(status, code.encode(), {"X-Error-Code": code} | (headers or {}))

    def send_json(self, value) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> int:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        return 0 if self.command == "HEAD" else len(data)


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _info(repository: Repository) -> dict:
    return {
        "_id": "0" * 24,
        "id": repository.id,
        "sha": repository.sha,
        "private": repository.private,
        "sdk": repository.sdk,
        "gated": "auto" if repository.gated else False,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [
            {"rfilename": name, "size": repository.claims.get(name, len(data))}
            for name, data in sorted(repository.files.items())
        ],
    }


def content_id(data: bytes, in_lfs: bool) -> str:
    if in_lfs:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _file(repository: Repository, name: str) -> dict:
    data = repository.files[name]
    entry = {"type": "file", "path": name, "size": len(data), "oid": content_id(data, False)}
    if name in repository.lfs:
        entry["lfs"] = {"oid": content_id(data, True), "size": len(data), "pointerSize": 134}
    return entry


def _folder(name: str) -> dict:
    return {"type": "directory", "path": name, "size": 0, "oid": _etag(name.encode())}


def _folders(repository: Repository) -> set[str]:
    parts = [name.split("/") for name in repository.files]
    return {"/".join(names[:n]) for names in parts for n in range(1, len(names))}


def _tree(repository: Repository, path: str, recursive: bool) -> list[dict]:
    entries = [_folder(name) for name in sorted(_folders(repository))]
    entries += [_file(repository, name) for name in sorted(repository.files)]
    inside = f"{path}/" if path else ""
    return [
        entry
        for entry in entries
        if entry["path"].startswith(inside)
        and (recursive or "/" not in entry["path"].removeprefix(inside))
    ]


def _paths_info(repository: Repository, paths: list[str]) -> list[dict]:
    found = [_file(repository, path) for path in paths if path in repository.files]
    return found + [_folder(path) for path in paths if path in _folders(repository)]
