"""The web page of a run: its files, the runtime that it needs, and the Space that it becomes."""

import io
import json
import tarfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import yaml

from tests.publishing.runs import finished, names_in
from tests.publishing.sending import ID, found, refused, send
from transfer.errors import SettingsError, TransferError
from transfer.publishing.export import export
from transfer.publishing.onnx import page, runtime
from transfer.publishing.onnx.runtime import find_runtime, integrity

PAGE = ["README.md", "index.html", "model.json", "model.onnx", "page.css", "page.js"]


@pytest.fixture
def packed(monkeypatch) -> dict[str, bytes]:
    """Small files in the place of the runtime's; the code knows their hashes."""
    files = {name: f"// {name}".encode() for name in runtime.KNOWN}
    known = {name: (len(data), integrity(data)[7:]) for name, data in files.items()}
    monkeypatch.setattr(runtime, "KNOWN", known)
    return files


def archive(files: dict[str, bytes]) -> bytes:
    """As npm packs them, with a file that nobody asked for."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in (files | {"../../evil.mjs": b"!"}).items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


@pytest.fixture
def registry(monkeypatch):
    """An npm registry that serves what it is given, and counts."""
    served = {"data": b"", "asked": []}

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self):
            served["asked"].append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served["data"])

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://127.0.0.1:{server.server_port}/")
    yield served
    server.shutdown()
    server.server_close()


def test_the_runtime_is_downloaded_once_and_only_what_is_known_of_it(packed, registry, cache):
    registry["data"] = archive(packed)
    assert find_runtime(None) == packed == find_runtime(None)
    assert registry["asked"] == [f"/{runtime.ARCHIVE}"]
    assert names_in(cache / "onnxruntime-web") == sorted(packed)


@pytest.mark.parametrize("change", [lambda d: archive({}), lambda d: d[:99], lambda d: b"<html>"])
def test_another_archive_than_the_stated_one_is_refused(packed, registry, cache, change):
    registry["data"] = change(archive(packed))
    with pytest.raises(SettingsError, match="found none; unpack that version"):
        find_runtime(None)
    registry["data"] = archive(packed | {"ort.wasm.min.mjs": b"alert(1)"})
    with pytest.raises(SettingsError, match="in the npm registry, found another file"):
        find_runtime(None)
    assert names_in(cache / "onnxruntime-web") == []


def test_without_a_network_a_line_says_what_to_do(monkeypatch, cache, tmp_path):
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9")
    run = finished(tmp_path / "run")
    with pytest.raises(TransferError, match="--runtime FOLDER") as caught:
        export(run, tmp_path / "out", "page")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_the_runtime_comes_from_a_folder_too(packed, tmp_path):
    with pytest.raises(SettingsError, match="in the folder 'package', found none"):
        find_runtime(tmp_path / "package")
    (tmp_path / "package" / "dist").mkdir(parents=True)
    for name, data in packed.items():
        (tmp_path / "package" / "dist" / name).write_bytes(data)
    run = finished(tmp_path / "run")
    folder = export(run, tmp_path / "out", "page", runtime=tmp_path / "package")
    assert names_in(folder) == sorted([*PAGE, *packed])
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert facts["model"]["integrity"] == integrity((folder / "model.onnx").read_bytes())
    for file in facts["runtime"]["wasm"].values():
        assert (file["url"], file["integrity"]) == (file["name"], integrity(packed[file["name"]]))


def test_the_runtime_can_stay_on_a_cdn_with_its_hashes(tmp_path):
    folder = export(finished(tmp_path / "run"), tmp_path / "out", "page", runtime="cdn")
    assert names_in(folder) == PAGE
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    for kind in ("wasm", "webgpu"):
        for file in facts["runtime"][kind].values():
            assert f"@{runtime.VERSION}/" in file["url"] and file["integrity"].startswith("sha384-")


def test_a_page_becomes_a_private_static_space_that_keeps_what_a_person_wrote(
    run, writing, monkeypatch, packed
):
    monkeypatch.setattr(page, "find_runtime", lambda *_: packed)
    _, published = send(run, what="page")
    space = writing.hub.repositories["spaces", ID]
    assert published.url.endswith(f"/spaces/{ID}") and (space.private, writing.commits) == (True, 1)
    assert set(space.files) >= {*PAGE, *packed, "thumbnail.png"}
    assert json.loads(space.files["model.json"])["name"] == "stripes"
    card = space.files["README.md"].decode()
    front = yaml.safe_load(card.split("---")[1])
    assert (front["sdk"], front["title"], front.get("models")) == ("static", "stripes", None)
    assert front["custom_headers"]["cross-origin-opener-policy"] == "same-origin"
    assert str(run.path.parent) not in card + space.files["model.json"].decode()
    edited = card.replace("title: stripes", "title: My stripes") + "\nMine.\n"
    writing.put(replace(space, files=space.files | {"README.md": edited.encode()}))
    send(run)  # the model, whose card links to the page
    assert f"/spaces/{ID}" in found(writing)["README.md"].decode()
    send(run, what="page")  # the page, which links to the model
    card = writing.hub.repositories["spaces", ID].files["README.md"].decode()
    front = yaml.safe_load(card.split("---")[1])
    assert (front["title"], front["models"]) == ("My stripes", [ID]) and "\nMine.\n" in card


def test_a_space_that_runs_an_app_is_not_replaced(writing, small, monkeypatch):
    writing.hub.add("spaces", ID, {"app.py": b""}, sdk="gradio")
    assert "which is a gradio Space" in refused(small, what="page")
    assert set(writing.hub.repositories["spaces", ID].files) == {"app.py"}
