"""The writing side of the Hub on loopback: accounts, new repositories, large files, commits.

Large files go to a storage of their own on another port, as the Hub keeps them on another host.
"""

import base64
import hashlib
import io
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from tests import hub_server

LFS_BYTES = 1 << 20
LFS_ENDINGS = (".safetensors", ".png", ".bin")
PREFIXES = {"spaces": "spaces/", "datasets": "datasets/"}  # of the addresses of git
GIT_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
READER, OAUTH = "hf_reader", "hf_oauth"
ME, TEAM = "me", "team"
ASIDE = ("/api/agent-harnesses",)  # asked once a process, whatever it does
WRITES = re.compile(
    r"/api/(?P<kind>models|spaces|datasets)/(?P<id>[^/]+/[^/]+)/(?P<verb>preupload|commit)/main"
    r"|/(?P<prefix>spaces/|datasets/)?(?P<repository>[^/]+/[^/]+)\.git/info/lfs/objects/(?P<lfs>batch|verify)"
    r"|/api/(?P<api>whoami-v2|validate-yaml|repos/create|repos/delete)"
)


TOKENS = {hub_server.FRIEND, hub_server.STRANGER, READER, OAUTH}
FRIENDS = (READER, OAUTH)


class Writing:
    """What a Hub needs to be written to.

    `faults` says what happens to which request, counted from 1 over the Hub and its storage, or
    what happens to it and all after it where the fault ends in "…": a status, "cut" (the connection
    ends before anything is done) or "lost" (after all is done). `seen` are all requests with
    whether they carried a token; `commits` counts those made.
    """

    def __init__(self, hub: "hub_server.HubServer"):
        self.hub = hub
        self.objects: dict[str, bytes] = {}
        self.past: dict[tuple[str, str], hub_server.Repository] = {}
        self.retry_after: str | None = None
        self.before: dict[str, Callable[[], object]] = {}
        self.storage_port = 0
        self.forget()

    def forget(self) -> None:
        """Start counting again, without faults."""
        self.faults: dict[int, str] = {}
        self.seen: list[tuple[str, bool]] = []
        self.commits = 0
        self.lock = threading.Lock()

    def fault(self, number: int) -> str | None:
        lasting = [fault for at, fault in self.faults.items() if at <= number and fault[-1] == "…"]
        return self.faults.get(number, lasting[-1] if lasting else "").rstrip("…") or None

    def around(self, handler: BaseHTTPRequestHandler, serve: Callable[[], object]) -> None:
        """Count the request and let happen to it what a test wants."""
        if handler.path in ASIDE:
            serve()
            return
        with self.lock:
            asked = f"{handler.command} {handler.path.split('?')[0]}"
            self.seen.append((asked, bool(handler.headers.get("Authorization"))))
            number = len(self.seen)
        handler.body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        handler.rfile = io.BytesIO(handler.body)
        handler.said = handler.token
        if handler.said in FRIENDS:  # they see what a friend sees
            handler.headers.replace_header("Authorization", f"Bearer {hub_server.FRIEND}")
        for part, act in self.before.items():
            if part in asked:
                act()
        fault = self.fault(number)
        if fault is None:
            serve()
        elif fault.isdigit():
            extra = {"Retry-After": self.retry_after} if self.retry_after else {}
            handler.send(int(fault), b"", extra)
        else:
            if fault == "lost":
                wfile, handler.wfile = handler.wfile, io.BytesIO()
                serve()
                handler.wfile = wfile
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)

    def serve(self, handler: "hub_server._Handler", path: str) -> bool:
        """Whether the request was one of those that only a Hub to write to knows."""
        found = WRITES.fullmatch(path)
        if found is None:
            return False
        if handler.said not in TOKENS:
            refusal = {"X-Error-Message": "Invalid credentials in Authorization header"}
            handler.refuse(401, "", refusal)
        elif handler.said == READER and (found["verb"] or found["api"] == "repos/create"):
            handler.refuse(403, "", {"X-Error-Message": "This token may only read"})
        elif found["api"]:
            self._serve_account(handler, found["api"])
        else:
            self._serve_repository(handler, found)
        return True

    def _serve_account(self, handler, verb: str) -> None:
        asked = json.loads(handler.body or b"{}")
        name = f"{asked.get('organization') or ME}/{asked.get('name')}"
        kind = f"{asked.get('type') or 'model'}s"
        known = self.hub.repositories.get((kind, name))
        if verb == "whoami-v2":
            handler.send_json({"type": "user", "name": ME, "orgs": [{"name": TEAM}]})
        elif verb == "validate-yaml":
            handler.send_json({"errors": [], "warnings": []})
        elif verb == "repos/create" and known:
            answer = {"error": "You already created this model repo", "url": self.url_of(name)}
            handler.send(409, json.dumps(answer).encode())
        elif verb == "repos/create":
            private = asked.get("visibility") == "private"
            self.hub.add(kind, name, {".gitattributes": GIT_ATTRIBUTES}, private=private)
            handler.send_json({"url": self.url_of(name)})
        elif known:
            del self.hub.repositories[kind, name]
            handler.send(200, b"")
        else:
            handler.unknown()

    def url_of(self, name: str) -> str:
        return f"{self.hub.endpoint}/{name}"

    def _serve_repository(self, handler, found: re.Match) -> None:
        kind = found["kind"] or (found["prefix"] or "models").rstrip("/")
        repository = self.hub.find(kind, found["id"] or found["repository"])
        if repository is None:
            handler.unknown()
        elif found["verb"] == "preupload":
            asked = json.loads(handler.body)["files"]
            handler.send_json({"files": [_mode(repository, file) for file in asked]})
        elif found["verb"] == "commit":
            self._commit(handler, repository)
        elif found["lfs"] == "batch":
            self._batch(handler, repository)
        else:
            stored = json.loads(handler.body)["oid"] in self.objects
            handler.send(200 if stored else 404, b"")

    def _batch(self, handler, repository) -> None:
        asked = json.loads(handler.body)
        prefix = PREFIXES.get(repository.kind, "")
        verify = f"{self.hub.endpoint}/{prefix}{repository.id}.git/info/lfs/objects/verify"
        objects = []
        for wanted in asked["objects"]:
            entry = dict(wanted)
            if wanted["oid"] not in self.objects:
                href = f"http://127.0.0.1:{self.storage_port}/{wanted['oid']}?signature=s3cret"
                entry["actions"] = {"upload": {"href": href}, "verify": {"href": verify}}
            objects.append(entry)
        handler.send_json({"transfer": "basic", "objects": objects})

    def _commit(self, handler, repository) -> None:
        """All of it or nothing, on top of the commit that the client has seen."""
        head, *lines = [json.loads(line) for line in handler.body.splitlines()]
        if head["value"].get("parentCommit") not in (None, repository.sha):
            handler.refuse(412, "", {"X-Error-Message": "A commit has happened since"})
            return
        files, lfs = dict(repository.files), set(repository.lfs)
        for line in lines:
            path = line["value"]["path"]
            lfs.discard(path)
            if line["key"] == "deletedFile":
                del files[path]
            elif line["key"] == "lfsFile":
                files[path] = self.objects[line["value"]["oid"]]
                lfs.add(path)
            else:
                files[path] = base64.b64decode(line["value"]["content"])
        self.put(replace(repository, files=files, lfs=frozenset(lfs)))
        self.commits += 1
        sha = self.hub.repositories[repository.kind, repository.id].sha
        url = f"{self.hub.endpoint}/{repository.id}/commit/{sha}"
        handler.send_json({"success": True, "commitOid": sha, "commitUrl": url})

    def put(self, repository: "hub_server.Repository") -> None:
        """A new head; the old one is found by its commit."""
        key = repository.kind, repository.id
        old = self.hub.repositories[key]
        self.past[repository.id, old.sha] = old
        self.hub.repositories[key] = repository

    def _storage(self) -> type[BaseHTTPRequestHandler]:
        writing = self

        class Storage(hub_server._Handler):
            def answer(self) -> None:
                writing.around(self, self.keep)

            def keep(self) -> None:
                oid = unquote(self.path.split("?")[0]).lstrip("/")
                right = hashlib.sha256(self.body).hexdigest() == oid
                if right:
                    writing.objects[oid] = self.body
                self.send(200 if right else 400, b"")

            do_PUT = answer

        return Storage


def _mode(repository: "hub_server.Repository", file: dict) -> dict:
    path, known = file["path"], repository.files.get(file["path"])
    endings = (*LFS_ENDINGS, ".jpg") if repository.kind == "datasets" else LFS_ENDINGS
    lfs = path.endswith(endings) or file["size"] > LFS_BYTES
    oid = None if known is None else hub_server.content_id(known, path in repository.lfs)
    mode = "lfs" if lfs else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid}


@contextmanager
def writable(hub: "hub_server.HubServer") -> Iterator[Writing]:
    """The Hub takes what is published to it, and forgets it at the end."""
    writing = Writing(hub)
    storage = ThreadingHTTPServer(("127.0.0.1", 0), writing._storage())
    storage.daemon_threads, storage.block_on_close = True, False
    writing.storage_port = storage.server_port
    threading.Thread(target=storage.serve_forever, args=(0.02,), daemon=True).start()
    before, hub.writing = dict(hub.repositories), writing
    try:
        yield writing
    finally:
        hub.writing, hub.repositories = None, before
        storage.shutdown()
        storage.server_close()
