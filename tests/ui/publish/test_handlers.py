import asyncio
import json
import shutil
import threading
import time
import zipfile
from pathlib import Path

import gradio as gr
import pytest

import transfer
from tests.hub_server import FRIEND
from tests.hub_writing import writable
from tests.ui.visitors import ME, OTHER
from transfer.errors import PublishError
from transfer.jobs import Job, JobLimits
from transfer.jobs.job import hashed, new_id
from transfer.publishing import Checked, Published
from transfer.publishing.onnx import page as onnx_page
from transfer.publishing.queue import PublishTask
from transfer.settings import TrainingSettings
from transfer.ui.page import build_page
from transfer.ui.publish import text
from transfer.ui.publish.handlers import PHOTOS, PublishHandlers
from transfer.ui.shared.loaded_runs import EXAMPLES_FOLDER

ID = "me/vgg11-tiny"
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz12345678"
CHECKED = Checked(
    repository=ID, exists=False, private=True, what="head", files={"run.json": 1}, bytes=1
)


@pytest.fixture(autouse=True)
def folder(runs_folder, tmp_path):
    """A tiny run on photos, and one on the digits."""
    shutil.copytree(runs_folder / "tiny", tmp_path / "runs" / "tiny")
    shutil.copytree(EXAMPLES_FOLDER / "digits", tmp_path / "runs" / "digits")
    return tmp_path / "runs"


@pytest.fixture
def handlers(folder, manage):
    return PublishHandlers(manage(folder), shared=False)


@pytest.fixture
def on_a_space(folder, manage):
    """A server with strangers; `tiny` is mine."""
    jobs = manage(folder, limits=JobLimits.shared())
    known = {"owner": hashed(ME), "source": "digits", "settings": TrainingSettings()}
    ended = {"out": folder / "tiny", "state": "done", "created": time.time(), "ended": time.time()}
    jobs._store.add(Job(id=new_id(), **known, **ended))
    return PublishHandlers(jobs, shared=True)


@pytest.fixture
def writing(hub):
    with writable(hub) as writing:
        yield writing


def form(visitor: str = ME, **change) -> dict:
    known = {"visitor": visitor, "run_id": "tiny", "what": "head", "repository": ID}
    return known | {"private": True, "license": "", "token": FRIEND} | change


def ended(handlers, visitor: str = ME) -> PublishTask:
    task = handlers.queue.newest_of(hashed(visitor))
    task.thread.join(60)
    assert not task.live
    return task


def failure(handlers, **change) -> str:
    """What the tab says about a publish that failed."""
    handlers.start(**form(**change))
    status = text.status(ended(handlers))
    assert "Not published" in status and FRIEND not in status and TOKEN not in status
    return status


@pytest.fixture
def replaced(monkeypatch):
    """Replaces the publishing: reports these events, then waits to be stopped or fails."""

    def replace(*events, error: Exception | None = None) -> tuple[list, threading.Event]:
        requests, reached = [], threading.Event()

        def publish_events(request, should_stop):
            requests.append(request)
            yield from events
            reached.set()
            if error:
                raise error
            while not should_stop():
                time.sleep(0.01)
            raise PublishError("stopped; nothing was published")

        monkeypatch.setattr("transfer.publishing.queue.publish_events", publish_events)
        return requests, reached

    return replace


def test_what_will_be_published_is_listed_with_its_size(handlers):
    assert sorted(run for _, run in handlers.listed(ME, None).choices) == ["digits", "tiny"]
    what, repository, _ = handlers.select(ME, "tiny")
    assert repository == "vgg11-tiny" and what.value == "head"
    ((_, page),) = handlers.describe(ME, "tiny", "head")
    assert all(f"<b>{name}</b>" in page for name in ("run.json", "model.safetensors", "README.md"))
    assert "No photos and no file names of photos are sent" in page and "“stripes”" in page
    ((_, page),) = handlers.describe(ME, "tiny", "page")
    assert "<b>model.onnx</b><span>the network" in page and "No photos" in page
    assert "<b>index.html</b><span>the page itself" in page
    ((license, _),) = handlers.describe(ME, "digits", "full")
    assert not license.interactive and license.choices == [("cc-by-4.0", "")]


def change_record(folder: Path, **change) -> None:
    path = folder / "tiny" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def test_no_photo_of_a_private_dataset_is_announced(handlers, folder, hub):
    hub.add("datasets", "me/secret", {}, private=True)
    change_record(folder, source="hub:me/secret")
    first, second = handlers.describe(ME, "tiny", "head")
    assert "Asking the Hub" in first[1]
    assert "only if the Hub says" in second[1] and "mistakes.png" not in second[1]


def test_a_run_is_published_and_the_token_is_stored_nowhere(handlers, writing):
    _, publish, cancel, token = handlers.start(**form())
    assert not publish.interactive and cancel.interactive and token == ""
    task = ended(handlers)
    assert isinstance(task.event, Published), task.error
    repository = writing.hub.repositories["models", ID]
    assert repository.private and {"run.json", "README.md"} <= set(repository.files)
    assert f'href="{writing.hub.endpoint}/{ID}"' in text.status(task)
    assert FRIEND not in repr(task) + repr(vars(handlers.queue))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"visitor": ""}, "reload"),
        ({"run_id": "../runs/tiny"}, "no such finished run"),
        ({"repository": None}, "a repository name"),
        ({"repository": f"me/{TOKEN}"}, "looks like a token"),
        ({"license": TOKEN}, "looks like a token"),
    ],
)
def test_a_bad_value_is_a_message_without_a_token(handlers, replaced, change, reason):
    requests, _ = replaced()
    with pytest.raises(gr.Error, match=reason) as error:
        handlers.start(**form(**change))
    assert TOKEN not in str(error.value) and requests == []


def test_a_strangers_run_is_neither_described_nor_published_nor_zipped(on_a_space):
    assert on_a_space.listed(OTHER, None).value is None
    assert "no such finished run" in list(on_a_space.describe(OTHER, "tiny", "head"))[-1][1]
    assert on_a_space.select(OTHER, "tiny")[1] == ""
    for act in (on_a_space.start, on_a_space.zipped):
        with pytest.raises(gr.Error, match="no such finished run"):
            act(**form(OTHER))


def start_signed_in(handlers, token: str | None) -> str:
    """The status in the end."""
    values = {name: value for name, value in form().items() if name != "token"}
    signed_in = gr.OAuthToken(token=token, scope="contribute-repos", expires_at=0)
    handlers.start_signed_in(signed_in if token else None, **values)
    return text.status(ended(handlers))


def test_on_a_space_only_the_visitors_own_sign_in_counts(on_a_space, writing, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: FRIEND)
    with pytest.raises(gr.Error, match="not available on this server"):
        start_signed_in(on_a_space, None)
    assert "Download the zip" in on_a_space.account_on_a_space(None)[1]
    monkeypatch.setattr("transfer.ui.publish.handlers.sign_in_available", lambda: True)
    with pytest.raises(gr.Error, match="Sign in, then press Publish"):
        start_signed_in(on_a_space, None)
    name, page, button = on_a_space.account_on_a_space(None)
    assert name == "" and "Sign in" in page and button.value == "Sign in with Hugging Face"
    assert "does not know this token or sign-in" in start_signed_in(on_a_space, "hf_nobody")


def test_visitors_publish_one_after_the_other_and_cancel_only_their_own(handlers, replaced):
    requests, reached = replaced(CHECKED)
    handlers.start(**form())
    assert reached.wait(60)
    with pytest.raises(gr.Error, match="already publishing"):
        handlers.start(**form())
    handlers.start(**form(OTHER))
    mine, others = (handlers.queue.newest_of(hashed(visitor)) for visitor in (ME, OTHER))
    assert others.waiting and "Waiting in line" in text.status(others)
    handlers.cancel(OTHER)
    assert "Cancelled" in text.status(ended(handlers, OTHER)) and len(requests) == 1
    assert mine.live
    handlers.queue.close()
    assert not mine.live and "Cancelled" in text.status(mine)


def test_a_private_upload_goes_into_no_public_repository(handlers, writing, hub):
    hub.add("models", ID, {"README.md": b"mine"}, private=False)
    assert "is public" in failure(handlers, private=None)
    assert hub.repositories["models", ID].files == {"README.md": b"mine"}


def test_a_failure_is_seen_at_once_and_later(handlers, replaced):
    async def watched() -> list:
        return [shown async for shown in handlers.watch(ME)]

    assert "Nothing is being published" in asyncio.run(watched())[0][0]
    replaced(CHECKED, error=PublishError("the Hub is away"))
    handlers.start(**form())
    for _ in range(2):
        status, publish, cancel = asyncio.run(watched())[-1]
        assert "The Hub is away" in status and publish.interactive and not cancel.interactive
    replaced(error=ValueError(f"with {FRIEND}"))
    assert "ValueError" in failure(handlers)


@pytest.fixture
def photos(handlers, photo):
    """Mine: five of each of two classes."""
    images = handlers.uploads.images(ME)
    for name in ("Grüner Tee", "black"):
        images.add_class(name)
        for _ in range(5):
            images.add(name, photo)
    return images


def test_ones_own_photos_are_published_as_a_private_dataset(handlers, photos, writing):
    assert handlers.listed(ME, None).choices[-1] == (
        "Your own photos: 10 photos in 2 classes",
        PHOTOS,
    )
    assert PHOTOS not in [run for _, run in handlers.listed(OTHER, None).choices]
    what, name, _ = handlers.select(ME, PHOTOS)
    assert what.value == "dataset" and "kB" in what.choices[0][0] and name == "own-photos"
    ((_, page),) = handlers.describe(ME, PHOTOS, "dataset")
    assert "10 photos" in page and "<b>Grüner Tee</b>" in page and "Only you" in page
    handlers.start(**form(run_id=PHOTOS, repository=f"me/{name}"))
    task = ended(handlers)
    assert isinstance(task.event, Published), task.error
    repository = writing.hub.repositories["datasets", "me/own-photos"]
    assert repository.private and "train/Grüner Tee/00005.jpg" in repository.files
    assert f'href="{writing.hub.endpoint}/datasets/me/own-photos"' in text.status(task)
    with zipfile.ZipFile(handlers.zipped(**form(run_id=PHOTOS, repository="me/x"))) as archive:
        assert {"x/train/Grüner Tee/00005.jpg", "x/README.md"} <= {*archive.namelist()}


def test_everybody_sees_photos_only_with_consent_and_nobody_publishes_those_of_others(
    handlers, photos, replaced
):
    requests, _ = replaced(CHECKED, error=PublishError("x"))
    public = {"run_id": PHOTOS, "what": "dataset", "private": False}
    for consent in (None, False, "yes"):
        with pytest.raises(gr.Error, match="consent for a public dataset"):
            handlers.start(**form(**public, consent=consent))
    assert handlers.consent(PHOTOS, False).visible and not handlers.consent(PHOTOS, True).visible
    assert not handlers.consent("tiny", False).visible
    ((_, page),) = handlers.describe(ME, PHOTOS, "dataset", False)
    assert "Everybody can see" in page
    with pytest.raises(gr.Error, match="choose them under Run"):
        handlers.start(**form(what="dataset"))
    assert requests == []
    handlers.start(**form(OTHER, **public, consent=True))
    ended(handlers, OTHER)
    assert requests[0].run != photos.folder and not requests[0].run.exists()
    ((_, page),) = handlers.describe(OTHER, PHOTOS, "dataset")
    assert "Add a class" in page


def test_an_error_is_escaped():
    status = text.status(PublishTask(error="the Hub is gone <b>", waiting=False, live=False))
    assert "gone &lt;b&gt;" in status


def test_a_zip_holds_what_would_be_published_and_loads(handlers, tmp_path):
    path = Path(handlers.zipped(**form(repository="me/my-tiny", license="mit", token=None)))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "out")
    out = tmp_path / "out" / "my-tiny"
    assert path.name == "my-tiny.zip" and (out / "report.json").exists()
    assert transfer.load(out).classes == ("across", "down", "spots")
    assert [file.name for file in path.parent.iterdir()] == ["my-tiny.zip"]
    card = (out / "README.md").read_text()
    assert "license: mit" in card and "me/my-tiny" in card
    assert str(tmp_path) not in (out / "run.json").read_text()


def test_the_account_of_this_machine_is_asked_for_once(handlers, writing, monkeypatch):
    def account(token: str | None) -> tuple[str, str]:
        monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
        return handlers.account()

    name, page = account(None)
    assert "Not signed in" in page and name == ""
    name, page = account(FRIEND)
    assert "<b>me</b>" in page and name == "me"
    asked = len(writing.seen)
    assert account(FRIEND)[0] == "me" and len(writing.seen) == asked
    assert handlers.with_owner("me", " x ") == "me/x"
    assert handlers.with_owner("me", "team/x") == gr.skip()


def test_the_token_goes_to_one_private_event_that_clears_it_and_to_no_shared_server(empty):
    def page(shared: bool) -> tuple[list, list]:
        config = build_page(empty, shared=shared).get_config_file()
        fields = config["components"]
        tokens = [one["id"] for one in fields if one["props"].get("type") == "password"]
        return tokens, config["dependencies"]

    assert page(shared=True)[0] == []
    (token,), events = page(shared=False)
    (event,) = [event for event in events if token in event["inputs"]]
    assert token in event["outputs"] and event["api_visibility"] == "private"


def test_a_zip_of_a_web_page_bears_the_name_of_the_repository(handlers, monkeypatch):
    monkeypatch.setattr(onnx_page, "find_runtime", lambda *_: {"ort.wasm.min.mjs": b"//"})
    path = handlers.zipped(**form(repository="me/my-tiny", what="page", token=None))
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("my-tiny/model.json"))["name"] == "my-tiny"
        assert b"sdk: static" in archive.read("my-tiny/README.md")
        assert {"my-tiny/index.html", "my-tiny/model.onnx"} <= {*archive.namelist()}
