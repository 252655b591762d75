import os
import signal
import threading
from dataclasses import replace

import pytest

from tests.hub_server import FRIEND, Repository
from tests.hub_writing import GIT_ATTRIBUTES
from tests.publishing.sending import (
    ID,
    contents,
    empty,
    expected,
    found,
    number_of,
    refused,
    requests,
    send,
)
from transfer.errors import TransferError
from transfer.publishing import PublishRequest, Waiting, publish_events


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize(
    "fault",
    ["lost", "403…"]
    + [pytest.param(fault, marks=pytest.mark.full) for fault in ("503", "429", "cut", "409")],
)
def test_a_fault_at_any_request_leaves_all_or_nothing(fault, exists, small, writing, capfd, caplog):
    count, everything, run_before = len(requests(writing, small)), expected(small), contents(small)
    old = {".gitattributes": GIT_ATTRIBUTES, "report.json": b"old"} if exists else None
    failures = []
    for number in range(1, count + 1):
        empty(writing)
        if exists:
            writing.hub.add("models", ID, dict(old), private=True)
        writing.faults = {number: fault}
        try:
            send(small)
        except TransferError as error:
            failures.append(message := str(error))
            created = [{".gitattributes": GIT_ATTRIBUTES}] if "may remain" in message else []
            committed = [everything] if "all files were sent" in message else []
            assert found(writing) in [old, *created, *committed], (number, writing.seen, error)
            assert message and "\n" not in message
            assert FRIEND not in message and "signature" not in message
        else:
            assert found(writing) == everything, number
        assert writing.commits <= 1, number
        assert contents(small) == run_before
    refused = fault in ("403…", "409")
    assert len(failures) > count // 2 if refused else not failures
    noise = caplog.text + "".join(capfd.readouterr())
    assert FRIEND not in noise and "signature" not in noise


def test_a_lost_answer_to_the_commit_makes_no_second_commit_even_if_a_stop_is_asked(small, writing):
    asked = []
    writing.faults = {number_of(writing, small, "/commit/main"): "lost"}
    writing.before = {"/commit/main": lambda: asked.append(1)}
    _, published = send(small, should_stop=lambda: bool(asked))
    assert writing.commits == 1 and found(writing) == expected(small)
    assert published.commit == writing.hub.repositories["models", ID].sha


def test_what_somebody_else_commits_meanwhile_stays(small, writing):
    theirs = {"notes.txt": b"new"}
    writing.hub.add("models", ID, {"notes.txt": b"old"}, private=True)
    newer = replace(writing.hub.repositories["models", ID], files=theirs)
    writing.before = {"/commit/main": lambda: writing.put(newer)}
    assert "somebody else changed" in refused(small)
    assert found(writing) == theirs


def test_a_repository_that_is_not_empty_any_more_is_never_deleted(small, writing):
    writing.faults = {number_of(writing, small, "/commit/main"): "403"}
    writing.before = {"/commit/main": lambda: found(writing).update({"notes.txt": b"mine"})}
    assert "holds files and stays" in refused(small)
    assert found(writing)["notes.txt"] == b"mine"


def test_a_private_publish_does_not_go_into_a_repository_that_became_public(small, writing):
    files = {".gitattributes": GIT_ATTRIBUTES}
    writing.before = {"repos/create": lambda: writing.hub.add("models", ID, files, private=False)}
    assert "is public meanwhile" in refused(small)
    assert found(writing) == files


@pytest.mark.parametrize("part", ["whoami", "PUT", "/commit/main"])
def test_a_stop_leaves_the_hub_as_it_was(part, small, writing):
    asked = []
    writing.faults = {number_of(writing, small, part): "503"}
    writing.before = {part: lambda: asked.append(part)}
    assert refused(small, should_stop=lambda: bool(asked)) == "stopped; nothing was published"
    assert found(writing) is None


@pytest.mark.parametrize(
    ("part", "words"), [("PUT", "nothing was published"), ("/commit/main", "during the commit")]
)
def test_ctrl_c_says_what_was_published(part, words, small, writing):
    interrupted = threading.Event()

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        interrupted.wait(10)

    writing.before = {part: interrupt}
    with pytest.raises(KeyboardInterrupt, match=words):
        send(small)
    interrupted.set()
    assert found(writing) is None or part == "/commit/main"


def test_the_pause_that_the_hub_asks_for_is_reported_and_can_be_cancelled(small, writing):
    number = number_of(writing, small, "/commit/main")
    writing.faults, writing.retry_after = {number: "429"}, "200"
    steps = publish_events(PublishRequest(run=small, repository=ID, token=FRIEND))
    event = next(event for event in steps if isinstance(event, Waiting))
    assert event.seconds == pytest.approx(200, abs=1) and "too many requests" in event.why
    steps.close()
    assert found(writing) is None
    writing.faults, writing.retry_after = {len(writing.seen) + 1: "429"}, "900"
    assert "asks to wait 900 seconds" in refused(small)


def test_a_commit_that_holds_something_else_is_reported(small, writing):
    def spoil() -> None:
        if writing.commits:
            held = writing.hub.repositories["models", ID]
            spoiled = type("Spoiled", (Repository,), {"sha": held.sha})  # of the same commit
            files = held.files | {"README.md": b"x"}
            writing.hub.repositories["models", ID] = spoiled(
                kind="models", id=ID, files=files, private=True, lfs=held.lfs
            )

    writing.before = {"/paths-info/": spoil}
    assert "expected README.md" in refused(small)
