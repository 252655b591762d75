import logging
import os
import time
from pathlib import Path

import pytest

import transfer
from tests.hub_server import FRIEND
from tests.hub_writing import GIT_ATTRIBUTES
from tests.publishing.sending import (
    ID,
    contents,
    expected,
    found,
    number_of,
    refused,
    save_tensors,
    send,
)
from tests.tiny import picture
from transfer.publishing import Checked, Published, Sending, Verifying


def test_a_run_becomes_a_private_repository_that_loads_again(run, writing, monkeypatch):
    before = contents(run.path)
    events, published = send(run.path)
    repository = writing.hub.repositories["models", ID]
    kinds = [*dict.fromkeys(type(event) for event in events)]
    assert kinds == [Checked, Sending, Verifying, Published]
    assert repository.private and published.private and published.changed
    assert published.commit == repository.sha and writing.commits == 1
    assert published.url == f"{writing.hub.endpoint}/{ID}" and published.what == "head"
    sizes = {name: len(data) for name, data in repository.files.items()}
    assert published.files | {".gitattributes": len(GIT_ATTRIBUTES)} == sizes
    assert {"run.json", "report.json", "model.safetensors", "README.md"} <= sizes.keys()
    assert published.bytes == sum(published.files.values()) == events[1].total_bytes
    assert contents(run.path) == before
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    shown = picture(1, 0)
    scores, again = transfer.load(run).scores(shown), transfer.load(ID).scores(shown)
    assert again == pytest.approx(scores, abs=1e-3)


def test_the_same_again_makes_no_new_commit(small, writing):
    first = transfer.publish(small, ID, token=FRIEND)
    events, second = send(small)
    assert (second.commit, second.changed, writing.commits) == (first.commit, False, 1)
    assert not [event for event in events if isinstance(event, Sending)]


def test_a_change_is_one_commit_that_keeps_a_persons_files_and_deletes_our_old_ones(small, writing):
    send(small)
    theirs = {"notes.txt": b"mine", "README.md": b"---\nlicense: mit\n---\nmy words"}
    ours = {"config.json": b"{}"}  # of a complete network
    writing.hub.repositories["models", ID].files.update(theirs | ours)
    save_tensors(small / "model.safetensors", 1.0)
    send(small)
    assert writing.commits == 2 and found(writing) == expected(small) | theirs


def test_an_existing_repository_keeps_its_visibility_and_its_new_name(small, writing):
    writing.hub.add("models", "me/new", {".gitattributes": GIT_ATTRIBUTES}, private=False)
    writing.hub.moved["me/old"] = "me/new"
    try:
        events, published = send(small, "me/old", private=True)
    finally:
        writing.hub.moved.clear()
    assert events[0].exists and not events[0].private and not published.private
    assert published.repository == "me/new"


def test_leftovers_of_a_killed_publish_are_removed_by_the_next(small, writing, cache):
    left, running = cache / "publish" / "left", cache / "publish" / "running"
    for folder in (left, running):
        (folder / "files").mkdir(parents=True)
    day_ago = time.time() - 25 * 3600
    os.utime(left, (day_ago, day_ago))
    send(small)
    assert list((cache / "publish").iterdir()) == [running]


def test_a_hub_that_is_away_silent_or_busy_is_reported(small, writing, hub, monkeypatch):
    monkeypatch.setattr("transfer.publishing.hub_repository.REQUEST_SECONDS", 0.5)
    with hub.gone():
        assert "does not answer" in refused(small)
    with hub.in_mood("silent"):
        assert "does not answer" in refused(small)
    writing.forget()
    writing.faults = {1: "503…"}
    assert "is busy (status 503)" in refused(small)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused(small)


def test_tokens_go_to_the_hub_alone_and_are_neither_stored_nor_logged(
    small, writing, cache, caplog, capfd
):
    writing.faults = {number_of(writing, small, "preupload"): "503"}
    caplog.set_level(logging.DEBUG)
    logging.getLogger("huggingface_hub").propagate = True
    events, published = send(small)
    logging.getLogger("huggingface_hub").propagate = False
    puts = [with_token for asked, with_token in writing.seen if asked.startswith("PUT")]
    others = [with_token for asked, with_token in writing.seen if not asked.startswith("PUT")]
    assert puts and not any(puts) and all(others)
    home = Path(os.environ["HF_HOME"])
    files = {**contents(cache), **contents(home), **found(writing)}
    assert not [name for name, data in files.items() if FRIEND.encode() in data]
    assert FRIEND not in caplog.text + "".join(capfd.readouterr()) + repr(events) + repr(published)
    assert not list((cache / "publish").iterdir())
