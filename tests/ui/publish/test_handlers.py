import asyncio
import json
import re
import shutil
import time
import zipfile
from pathlib import Path

import gradio as gr
import pytest

import transfer
from tests.hub_server import FRIEND
from tests.hub_writing import OAUTH, READER, writable
from tests.ui.conftest import SAYS_NOTHING
from tests.ui.visitors import ME, OTHER
from transfer.jobs import Job, JobLimits, JobManager
from transfer.jobs.job import hashed, new_id
from transfer.publishing import Checked, Published, Sending, Verifying, Waiting
from transfer.ui.page import build_page
from transfer.ui.publish import summary, text
from transfer.ui.publish.form import PublishForm
from transfer.ui.publish.handlers import PublishHandlers
from transfer.ui.publish.queue import PublishQueue, PublishTask
from transfer.ui.publish.summary import proposed_name
from transfer.ui.shared.loaded_runs import EXAMPLE_FOLDER

ID = "me/vgg11-tiny"
TOKEN = "hf_abcdefghijklmnopqrstuvwxyz12345678"
CHECKED = Checked(
    repository=ID, exists=False, private=True, what="head", files={"run.json": 1}, bytes=1
)


@pytest.fixture(autouse=True)
def folder(runs_folder, tmp_path):
    """A tiny run on photos, and one on the digits."""
    shutil.copytree(runs_folder / "tiny", tmp_path / "runs" / "tiny")
    shutil.copytree(EXAMPLE_FOLDER, tmp_path / "runs" / "digits")
    return tmp_path / "runs"


@pytest.fixture
def publishing(folder):
    jobs = JobManager(folder, command=SAYS_NOTHING)
    yield PublishHandlers(jobs, shared=False)
    jobs.close()


@pytest.fixture
def on_a_space(folder):
    """Where strangers are, and `tiny` is mine."""
    jobs = JobManager(folder, command=SAYS_NOTHING, limits=JobLimits.shared())
    known = {"id": new_id(), "owner": hashed(ME), "source": "digits", "options": {}}
    now = time.time()
    jobs._store.add(Job(**known, out=folder / "tiny", state="done", created=now, ended=now))
    yield PublishHandlers(jobs, shared=True)
    jobs.close()


@pytest.fixture
def writing(hub):
    with writable(hub) as writing:
        yield writing


def begin(publishing, visitor=ME, **change):
    order = {
        "run_id": "tiny", "what": "head", "repository": ID, "private": True, "licence": "",
        "token": FRIEND,
    } | change  # fmt: skip
    return publishing.start(visitor, *order.values())


def ended(publishing, visitor=ME) -> PublishTask:
    parcel, end = publishing.outbox.newest_of(visitor), time.monotonic() + 240
    while parcel.live and time.monotonic() < end:
        time.sleep(0.02)
    assert not parcel.live
    return parcel


def failure(publishing, **change) -> str:
    """What the tab says once a publish has failed."""
    begin(publishing, **change)
    said = text.status(ended(publishing))
    assert "Not published" in said and FRIEND not in said and TOKEN not in said
    return said


def instead(monkeypatch, *events, error=None):
    """Publishing says these events and then waits until it is asked to stop, or fails."""
    asked = []

    def publish_events(request, should_stop):
        asked.append(request)
        yield from events
        if error:
            raise error
        while not should_stop():
            time.sleep(0.01)
        raise transfer.errors.PublishError("stopped; nothing was published")

    monkeypatch.setattr("transfer.ui.publish.form.publish_events", publish_events)
    return asked


def chosen(publishing, run: str, name: str = "") -> tuple:
    return list(publishing.chosen(ME, run, name))[-1]


def test_one_s_runs_are_offered_and_the_chosen_one_stays(publishing):
    offered = publishing.listed(ME, None)
    assert sorted(run for _, run in offered.choices) == ["digits", "tiny"]
    assert "value" not in publishing.listed(ME, "digits").constructor_args
    assert publishing.listed(ME, "gone").value in ("digits", "tiny")


def test_what_will_be_sent_is_told_with_its_size_before_it_is(publishing):
    what, repository, licence, told = chosen(publishing, "tiny", "me")
    assert repository == ID and licence.interactive and len(licence.choices) > 5
    assert what.value == "head" and what.choices[0][0].startswith("Only what changed, ")
    for name in ("run.json", "report.json", "model.safetensors", "README.md"):
        assert f"<b>{name}</b>" in told
    assert "No photo and no file name of a photo is sent" in told and "“stripes”" in told
    assert "config.json" in publishing.told(ME, "tiny", "full")


def test_of_open_images_it_is_told_that_some_are_shown_and_the_licence(publishing):
    *_, licence, told = chosen(publishing, "digits")
    assert not licence.interactive and licence.choices == [("imagenet-terms", "")]
    assert "mistakes.png" in told and "No photo" not in told and "Licence: imagenet-terms" in told


def test_of_a_data_set_that_is_not_open_no_photo_is_promised_to_be_sent(publishing, folder, hub):
    hub.add("datasets", "me/secret", {}, private=True)
    record = json.loads((folder / "tiny" / "run.json").read_text())
    (folder / "tiny" / "run.json").write_text(json.dumps(record | {"source": "hub:me/secret"}))
    first, second = publishing.chosen(ME, "tiny", "")
    assert "Asking the Hub" in first[-1]
    assert "only if the Hub says" in second[-1] and "mistakes.png" not in second[-1]


def test_a_way_that_is_not_possible_is_said_to_be(publishing, folder):
    record = json.loads((folder / "tiny" / "run.json").read_text())
    record["body"]["weights"] = "file:mine.safetensors"
    (folder / "tiny" / "run.json").write_text(json.dumps(record))
    what, *_, told = chosen(publishing, "tiny")
    assert what.choices[0][0] == "Only what changed, not possible" and what.value == "full"
    assert "config.json" in told
    told = publishing.told(ME, "tiny", "head")
    assert "mine.safetensors" in told and "--what" not in told


@pytest.mark.parametrize(
    ("least", "most", "told"),
    [
        (1_160_000, 2_320_000, "1.2 to 2.3 MB"),
        (61_300_000, 61_300_000, "61.3 MB"),
        (800_000, 1_600_000, "0.8 to 1.6 MB"),
        (30_400, 0, "30 kB"),
        (12, 0, "1 kB"),
    ],
)
def test_sizes_are_told_in_one_unit(least, most, told):
    assert text.size_of(least, most) == told


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("your own photos", "vgg16-your-own-photos"),
        ("AI-Lab-Makerere/beans", "vgg16-beans"),
        ("VGG of mine", "vgg-of-mine"),
        ("../../été!!", "vgg16-t"),
        ("日本", "vgg16-run"),
        ("a--b..c.git", "vgg16-a-b.c"),
        ("x" * 60, "vgg16-" + "x" * 60),
    ],
)
def test_the_proposed_name_is_one_that_the_hub_takes(name, proposed):
    from huggingface_hub.utils import validate_repo_id

    assert proposed_name("vgg16", name) == proposed
    validate_repo_id(f"me/{proposed}")


def test_a_run_is_published_private_and_the_token_is_gone(publishing, writing):
    status, publish, cancel, token = begin(publishing)
    assert "Making the files" in status or "Waiting in line" in status
    assert not publish.interactive and cancel.interactive and token == ""
    parcel = ended(publishing)
    assert isinstance(parcel.event, Published), parcel.error
    repository = writing.hub.repositories["models", ID]
    assert repository.private and {"run.json", "README.md"} <= set(repository.files)
    status = text.status(parcel)
    assert f'href="{writing.hub.endpoint}/{ID}"' in status and "transfer.load" in status
    assert FRIEND not in repr(parcel) and FRIEND not in repr(vars(publishing.outbox))
    foretold = summary.offer(publishing.jobs.run_of(ME, "tiny").path, "tiny")
    sizes = foretold.bytes["head"], foretold.most["head"]
    assert any(parcel.event.bytes == pytest.approx(size, rel=0.03) for size in sizes)


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("hf_nobody", "does not know this token"),
        (TOKEN, "does not know this token"),
        ("", "no token"),
        (None, "no token"),
        (["x"], "no token"),
        ("two words", "found other characters"),
        (READER, "does not let this token write"),
    ],
)
def test_a_token_that_does_not_do_is_a_sentence(publishing, writing, token, words):
    text = failure(publishing, token=token)
    assert words in text and "auth login" not in text
    assert not token or str(token) not in text
    assert ("models", ID) not in writing.hub.repositories


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"run_id": "../runs/tiny"}, "finished run of yours"),
        ({"run_id": "/etc"}, "finished run of yours"),
        ({"run_id": None}, "finished run of yours"),
        ({"run_id": ["tiny"]}, "finished run of yours"),
        ({"run_id": TOKEN}, "finished run of yours"),
        ({"what": "all"}, "what to publish"),
        ({"what": TOKEN}, "what to publish"),
        ({"what": {}}, "what to publish"),
        ({"repository": ""}, "a repository&#x27;s name"),
        ({"repository": None}, "a repository&#x27;s name"),
        ({"repository": "../x"}, "a repository&#x27;s name"),
        ({"repository": "/etc/passwd"}, "a repository&#x27;s name"),
        ({"repository": TOKEN}, "looks like a token"),
        ({"repository": f"me/{TOKEN}"}, "looks like a token"),
        ({"repository": "<b>x"}, "a repository&#x27;s name"),
        ({"private": "no"}, "Private must be yes or no"),
        ({"private": None}, "Private must be yes or no"),
        ({"licence": "my/own"}, "a licence that the Hub knows"),
        ({"licence": TOKEN}, "a licence that the Hub knows"),
        ({"licence": ["mit"]}, "a licence that the Hub knows"),
    ],
)
def test_what_the_page_does_not_offer_is_refused_in_a_sentence(
    publishing, monkeypatch, change, words
):
    asked = instead(monkeypatch)
    text = failure(publishing, **change)
    assert words in text and "<b>x" not in text and asked == []


def test_a_strangers_run_is_not_published_and_not_zipped(on_a_space, monkeypatch):
    asked = instead(monkeypatch)
    assert on_a_space.listed(OTHER, None).value is None
    on_a_space.start_signed_in(OTHER, "tiny", "head", ID, True, "", _oauth())
    assert "finished run of yours" in ended(on_a_space, OTHER).error and asked == []
    with pytest.raises(gr.Error, match="of yours"):
        on_a_space.zipped(OTHER, "tiny", "head", ID, True, "")
    assert "of yours" in on_a_space.told(OTHER, "tiny", "head")


def _oauth(token: str = OAUTH) -> gr.OAuthToken:
    return gr.OAuthToken(token=token, scope="contribute-repos", expires_at=0)


def test_on_a_space_only_the_visitor_s_own_sign_in_counts(on_a_space, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: FRIEND)
    asked = instead(monkeypatch, CHECKED)
    with pytest.raises(gr.Error, match="sign in "):
        on_a_space.start_signed_in(ME, "tiny", "head", ID, True, "", None)
    assert on_a_space.outbox.newest_of(ME) is None and asked == []
    on_a_space.start_signed_in(ME, "tiny", "head", ID, True, "mit", _oauth())
    on_a_space.cancel(ME)
    ended(on_a_space)
    assert (asked[0].token, asked[0].license) == (OAUTH, "mit")


def test_on_a_space_a_refusal_of_the_hub_speaks_of_no_token(on_a_space, writing):
    on_a_space.start_signed_in(ME, "tiny", "head", ID, True, "", _oauth("hf_nobody"))
    told = text.status(ended(on_a_space))
    assert "The Hub does not know your sign-in; sign in again" in told and "token" not in told
    writing.faults = {len(writing.seen) + 1: "403…"}
    on_a_space.start_signed_in(ME, "tiny", "head", ID, True, "", _oauth())
    told = text.status(ended(on_a_space))
    assert "does not let your sign-in write to" in told and "under another name" in told
    assert "token" not in told and "auth login" not in told


def test_where_nobody_can_sign_in_the_zip_is_what_is_left(on_a_space, monkeypatch):
    assert "Download the zip" in on_a_space.whose_on_a_space(None)[0]
    with pytest.raises(gr.Error, match="Download the zip"):
        on_a_space.start_signed_in(ME, "tiny", "head", ID, True, "", None)
    monkeypatch.setattr("transfer.ui.publish.handlers.sign_in_available", lambda: True)
    told, name, button = on_a_space.whose_on_a_space(None)
    assert "Sign in" in told and name == "" and button.value == "Sign in with Hugging Face"
    with pytest.raises(gr.Error, match="Sign in, then press Publish"):
        on_a_space.start_signed_in(ME, "tiny", "head", ID, True, "", None)


def test_a_visitor_without_a_name_publishes_nothing(publishing):
    for act in (begin, lambda it, visitor: it.cancel(visitor)):
        with pytest.raises(gr.Error, match="reload"):
            act(publishing, visitor="")


def test_one_publish_at_a_time_for_one_visitor(publishing, monkeypatch):
    instead(monkeypatch, CHECKED)
    begin(publishing)
    with pytest.raises(gr.Error, match="is going on"):
        begin(publishing)
    begin(publishing, OTHER)
    publishing.cancel(ME)
    assert publishing.outbox.newest_of(OTHER).live
    assert "Cancelled" in text.status(ended(publishing))
    begin(publishing)
    for visitor in (ME, OTHER):
        publishing.cancel(visitor)
        ended(publishing, visitor)


def test_another_visitor_waits_in_line_and_may_leave_it(publishing, monkeypatch):
    asked = instead(monkeypatch, CHECKED)
    begin(publishing)
    while publishing.outbox.newest_of(ME).in_line:
        time.sleep(0.01)
    begin(publishing, OTHER)
    second = publishing.outbox.newest_of(OTHER)
    time.sleep(0.1)
    assert second.in_line and "Waiting in line" in text.status(second)
    publishing.cancel(OTHER)
    assert "Cancelled" in text.status(ended(publishing, OTHER)) and len(asked) == 1
    assert publishing.outbox.newest_of(ME).live
    publishing.outbox.close()
    assert not publishing.outbox.newest_of(ME).live


def test_cancelling_ends_a_real_wait_and_leaves_nothing(publishing, writing):
    writing.faults, writing.retry_after = {1: "429"}, "60"
    begin(publishing)
    parcel = publishing.outbox.newest_of(ME)
    while not isinstance(parcel.event, Waiting):
        assert parcel.live
        time.sleep(0.02)
    assert re.search(r"Trying again in (59|60) s", text.status(parcel))
    begun = time.monotonic()
    status, _, cancel = publishing.cancel(ME)
    assert "Cancelling" in status and not cancel.interactive
    assert "Cancelled" in text.status(ended(publishing))
    assert time.monotonic() - begun < 5 and ("models", ID) not in writing.hub.repositories


def test_what_is_to_be_private_goes_into_no_open_repository(publishing, writing, hub):
    hub.add("models", ID, {"README.md": b"mine"}, private=False)
    assert "is public" in failure(publishing)
    assert hub.repositories["models", ID].files == {"README.md": b"mine"}


def test_progress_is_told_as_it_is():
    def told(event, **more):
        return text.status(PublishTask(event=event, checked=CHECKED, in_line=False, **more))

    assert "a new private repository me/vgg11-tiny" in told(CHECKED)
    assert "Sending 1.0 MB" in told(Sending(total_bytes=1_000_000))
    assert "reading it back" in told(Verifying())
    assert "Trying again in 3 s" in told(Waiting(seconds=3.2, why="the Hub is busy"))
    sent = told(Verifying(), error="the Hub is gone <b>", live=False)
    assert "Sent, but not read back" in sent and "gone &lt;b&gt;" in sent
    for event in (None, CHECKED, Verifying()):
        assert 'role="status"' in told(event) and 'aria-live="polite"' in told(event)


def test_an_error_of_ours_is_a_sentence_without_what_it_says(publishing, monkeypatch):
    instead(monkeypatch, error=ValueError(f"with {FRIEND}"))
    assert "ValueError" in failure(publishing)


def test_a_watcher_sees_the_end_and_one_who_comes_later_too(publishing, monkeypatch):
    async def watched() -> list:
        return [shown async for shown in publishing.watch(ME)]

    assert asyncio.run(watched()) == [(gr.skip(),) * 3]
    instead(monkeypatch, CHECKED, error=transfer.errors.PublishError("the Hub is away"))
    begin(publishing)
    for _ in range(2):
        status, publish, cancel = asyncio.run(watched())[-1]
        assert "The Hub is away" in status and publish.interactive and not cancel.interactive


def test_how_it_ended_is_not_kept_for_ever(publishing, monkeypatch):
    instead(monkeypatch, error=transfer.errors.PublishError("x"))
    begin(publishing)
    ended(publishing)
    monkeypatch.setattr("transfer.ui.publish.queue.SECONDS_KEPT", -1)
    begin(publishing, OTHER)
    assert publishing.outbox.newest_of(ME) is None


def test_a_zip_holds_what_would_be_published_and_loads(publishing, tmp_path):
    path = Path(publishing.zipped(ME, "tiny", "head", "me/my-tiny", True, "mit"))
    assert path.name == "my-tiny.zip"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "taken")
    taken = tmp_path / "taken" / "my-tiny"
    assert {"run.json", "report.json", "model.safetensors", "README.md"} <= {
        file.name for file in taken.iterdir()
    }
    assert transfer.load(taken).classes == ("across", "down", "spots")
    assert [file.name for file in path.parent.iterdir()] == ["my-tiny.zip"]
    card = (taken / "README.md").read_text()
    assert "license: mit" in card and "me/my-tiny" in card
    assert str(tmp_path) not in (taken / "run.json").read_text()


def test_who_is_signed_in_is_told_when_the_hub_says_so(publishing, writing, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    told, name = publishing.whose()
    assert "Not signed in" in told and name == ""
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_old")
    assert "does not know" in publishing.whose()[0]
    monkeypatch.setattr("huggingface_hub.get_token", lambda: FRIEND)
    told, name = publishing.whose()
    assert "<b>me</b>" in told and name == "me"
    asked = len(writing.seen)
    publishing.whose()
    assert len(writing.seen) == asked and FRIEND not in repr(vars(publishing))


def test_a_bare_name_gets_the_account_s_before_it_and_no_other_is_touched(publishing):
    assert publishing.placed("me", " x ") == "me/x"
    for name, repository in (("me", "team/x"), ("me", ""), ("", "x"), (None, "x"), ("me", None)):
        assert publishing.placed(name, repository) == gr.skip()


def test_a_hub_that_is_away_keeps_nobody_waiting(publishing, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: FRIEND)
    begun = time.monotonic()
    with hub.in_mood("silent"):
        told, name = publishing.whose()
    assert "does not answer" in told and name == "" and time.monotonic() - begun < 15


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("make one at X, then run `hf auth login`", "make one at X, then sign in again"),
        ("sign in anew with `hf auth login`", "sign in anew"),
        ("then sign in with `hf auth login` (status 403)", "then sign in again (status 403)"),
        ("publish with --what head", "publish; choose only what changed"),
        ("publish the network with --what full", "publish the network: choose it above"),
    ],
)
def test_advice_for_the_command_line_is_put_into_the_page_s_words(sentence, told):
    assert text.as_on_page(sentence) == told


def components(page) -> list[dict]:
    return page.get_config_file()["components"]


@pytest.mark.parametrize(("space", "oauth"), [(False, False), (True, False), (True, True)])
def test_a_space_has_a_button_to_sign_in_and_no_field_for_a_token(empty, monkeypatch, space, oauth):
    if space:
        monkeypatch.setenv("SYSTEM", "spaces")
        monkeypatch.setenv("SPACE_ID", "me/space")
        if oauth:
            monkeypatch.setenv("OAUTH_CLIENT_ID", "id")
            for name in ("CLIENT_ID", "CLIENT_SECRET", "SCOPES"):
                monkeypatch.setattr(f"gradio.oauth.OAUTH_{name}", "x")
            monkeypatch.setattr("gradio.oauth.OPENID_PROVIDER_URL", "http://127.0.0.1")
    page = build_page(empty, shared=space)
    passwords = [one for one in components(page) if one["props"].get("type") == "password"]
    logins = [one for one in components(page) if "Sign in with" in str(one["props"].get("value"))]
    assert (len(passwords), len(logins)) == (0 if space else 1, int(oauth))


def test_the_token_goes_to_one_event_alone_and_is_cleared_by_it(empty):
    page = build_page(empty, shared=False)
    (token,) = [one["id"] for one in components(page) if one["props"].get("type") == "password"]
    events = page.get_config_file()["dependencies"]
    takes = [event for event in events if token in event["inputs"]]
    assert len(takes) == 1 and token in takes[0]["outputs"]
    assert takes[0]["api_visibility"] == "private"


def test_no_text_made_of_an_order_has_the_token_in_it(tmp_path):
    known = {"path": tmp_path, "repository": ID, "what": "head", "private": True, "licence": None}
    assert TOKEN not in repr(PublishForm(**known, token=TOKEN))


def test_an_outbox_starts_empty():
    assert PublishQueue().newest_of(ME) is None and PublishQueue().cancel(ME) is None
