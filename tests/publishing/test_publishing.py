import logging
import os
import time
from pathlib import Path

import pytest

import transfer
from tests.hub_server import FRIEND
from tests.hub_writing import GIT_ATTRIBUTES
from tests.publishing.sending import ID, at, contents, found, refused, save_tensors, send
from tests.tiny import picture
from transfer.errors import RunError, SettingsError
from transfer.publishing import Checked, Published, Sending, Verifying, publish


def test_a_run_becomes_a_private_repository_that_loads_again(run, writing, monkeypatch):
    before = contents(run.path)
    events, published = send(run.path)
    repository = writing.hub.repositories["models", ID]
    assert [type(event) for event in events] == [Checked, Sending, Verifying, Published]
    assert repository.private and published.private and published.changed
    assert published.commit == repository.sha and writing.commits == 1
    assert published.url == f"{writing.hub.endpoint}/{ID}" and published.what == "head"
    assert {"run.json", "report.json", "model.safetensors", "README.md"} <= set(published.files)
    assert published.files == {
        name: len(data) for name, data in repository.files.items() if name != ".gitattributes"
    }
    assert published.bytes == sum(published.files.values()) == events[1].total_bytes
    assert contents(run.path) == before
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    shown = picture(1, 0)
    scores, again = transfer.load(run).scores(shown), transfer.load(ID).scores(shown)
    assert again == pytest.approx(scores, abs=1e-3)


def test_the_whole_network_is_published_from_a_run_and_from_an_exported_folder(
    run, writing, tmp_path
):
    from transfer.publishing.timm_export import export

    exported = export(run, tmp_path / "exported")
    _, whole = send(run, "me/whole", what="full", private=False)
    _, again = send(exported, "me/exported", private=False)
    assert (whole.what, again.what) == ("full", "full")
    assert "config.json" in whole.files and "config.json" in again.files
    assert not writing.hub.repositories["models", "me/whole"].private


def test_the_name_of_the_package_is_a_call_and_gives_what_was_published(small, writing):
    assert transfer.publish is publish
    assert transfer.publish(small, ID, token=FRIEND).repository == ID


def test_the_same_again_is_no_new_commit(small, writing):
    _, first = send(small)
    events, second = send(small)
    assert (second.commit, second.changed, writing.commits) == (first.commit, False, 1)
    assert not [event for event in events if isinstance(event, Sending)]


def test_a_change_is_one_new_commit_and_what_a_person_added_stays(small, writing):
    _, first = send(small)
    repository = writing.hub.repositories["models", ID]
    repository.files["notes.txt"] = b"mine"
    repository.files["README.md"] = b"---\nlicense: mit\n---\nmy words"
    save_tensors(small / "model.safetensors", 1.0)
    _, second = send(small)
    assert second.commit != first.commit and writing.commits == 2
    assert found(writing)["notes.txt"] == b"mine"
    assert found(writing)["README.md"] == b"---\nlicense: mit\n---\nmy words"
    assert found(writing)["model.safetensors"] == (small / "model.safetensors").read_bytes()


def test_files_of_an_earlier_publish_that_no_longer_fit_leave_with_the_commit(small, writing):
    send(small)
    writing.hub.repositories["models", ID].files["config.json"] = b"{}"
    send(small)
    assert "config.json" not in found(writing) and writing.commits == 2


def test_an_existing_repository_keeps_its_visibility_and_it_is_said(small, writing):
    writing.hub.add("models", ID, {".gitattributes": GIT_ATTRIBUTES}, private=False)
    events, published = send(small, private=True)
    assert events[0].exists and not events[0].private and not published.private


def test_a_moved_repository_is_published_to_under_its_new_name(small, writing):
    writing.hub.add("models", "me/new", {".gitattributes": GIT_ATTRIBUTES})
    writing.hub.moved["me/old"] = "me/new"
    try:
        _, published = send(small, "me/old")
    finally:
        writing.hub.moved.clear()
    assert published.repository == "me/new"


def test_what_a_killed_publish_left_goes_with_the_next_and_what_is_under_way_stays(
    small, writing, cache
):
    left, under_way = cache / "publish" / "left", cache / "publish" / "under-way"
    for folder in (left, under_way):
        (folder / "bundle").mkdir(parents=True)
        (folder / "bundle" / "model.safetensors").write_bytes(b"whole")
    day_ago = time.time() - 25 * 3600
    os.utime(left, (day_ago, day_ago))
    send(small)
    assert list((cache / "publish").iterdir()) == [under_way]


def test_the_run_and_the_kind_are_looked_at_first(small, writing, tmp_path):
    assert "none called 'gone'" in refused(tmp_path / "gone", kind=RunError)
    assert "found 'body'" in refused(small, kind=SettingsError, what="body")
    assert not writing.seen


def test_without_a_network_it_says_so_within_seconds(small, writing, hub, monkeypatch):
    started = time.monotonic()
    with hub.gone():
        assert "does not answer" in refused(small)
    assert time.monotonic() - started < 5
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "unset HF_HUB_OFFLINE" in refused(small)


def test_a_silent_hub_is_given_up_at_the_deadline(small, writing, hub, monkeypatch):
    monkeypatch.setattr("transfer.publishing.REQUEST_SECONDS", 1.0)
    with hub.in_mood("silent"):
        assert "does not answer" in refused(small)
    assert len(writing.seen) == 1


def test_tokens_go_to_the_hub_alone_and_uploads_to_its_storage(small, writing):
    send(small)
    puts = [with_token for asked, with_token in writing.seen if asked.startswith("PUT")]
    others = [with_token for asked, with_token in writing.seen if not asked.startswith("PUT")]
    assert puts and not any(puts) and all(others)


def test_nothing_of_the_token_stays_on_disk_or_in_logs(small, writing, cache, caplog, capfd):
    writing.faults = {at(writing, small, "preupload"): "503"}
    caplog.set_level(logging.DEBUG)
    logging.getLogger("huggingface_hub").propagate = True
    events, published = send(small)
    logging.getLogger("huggingface_hub").propagate = False
    home = Path(os.environ["HF_HOME"])
    files = {**contents(cache), **contents(home), **found(writing)}
    assert not [name for name, data in files.items() if FRIEND.encode() in data]
    assert FRIEND not in caplog.text + "".join(capfd.readouterr()) + repr(events) + repr(published)
    assert not list((cache / "publish").iterdir())
