import time

import pytest

from tests.hub_server import FRIEND
from tests.hub_writing import GIT_ATTRIBUTES
from tests.publishing.sending import ID, at, contents, expected, found, numbered, refused, send
from transfer.errors import TransferError
from transfer.publishing import Waiting, publishing

FAULTS = ("503", "429", "cut", "lost", "403", "409", "412", "503…", "cut…")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_whatever_happens_to_whichever_request_it_is_all_or_nothing(
    fault, exists, small, writing, capfd, caplog
):
    count, whole, run_before = len(numbered(writing, small)), expected(small), contents(small)
    old = {".gitattributes": GIT_ATTRIBUTES, "report.json": b"old"} if exists else None
    told = []
    for number in range(1, count + 1):
        writing.hub.repositories.clear()
        writing.objects.clear()
        writing.forget()
        if exists:
            writing.hub.add("models", ID, dict(old), private=True)
        writing.faults = {number: fault}
        try:
            send(small)
        except TransferError as error:
            told.append(str(error))
            states = [old, whole]
            if "may remain" in told[-1]:
                states.append({".gitattributes": GIT_ATTRIBUTES})
            assert found(writing) in states, (number, writing.seen, error)
            assert "\n" not in str(error) and FRIEND not in str(error) and str(error)
            assert "signature" not in str(error)
        else:
            assert found(writing) == whole, number
        assert writing.commits <= 1, number
        assert contents(small) == run_before
    if fault in ("503", "429", "cut", "lost"):
        assert not told
    else:
        assert len(told) > count // 2
    noise = caplog.text + "".join(capfd.readouterr())
    assert FRIEND not in noise and "signature" not in noise


def test_an_answer_that_is_lost_after_the_commit_is_no_second_commit(small, writing):
    number = at(writing, small, "/commit/main")
    writing.faults = {number: "lost"}
    _, published = send(small)
    assert writing.commits == 1
    assert published.commit == writing.hub.repositories["models", ID].sha


def test_what_somebody_else_commits_meanwhile_stays(small, writing):
    from dataclasses import replace

    writing.hub.add("models", ID, {"notes.txt": b"old"}, private=True)
    theirs = {"notes.txt": b"new"}

    def commit() -> None:
        repository = writing.hub.repositories["models", ID]
        writing.put(replace(repository, files=theirs))

    writing.before = {"/commit/main": commit}
    assert "changed by somebody else" in refused(small)
    assert found(writing) == theirs


def test_a_repository_that_filled_meanwhile_is_never_removed(small, writing):
    number = at(writing, small, "/commit/main")

    def fill() -> None:
        writing.hub.repositories["models", ID].files["notes.txt"] = b"mine"

    writing.faults, writing.before = {number: "403"}, {"/commit/main": fill}
    assert "holds files and stays" in refused(small)
    assert found(writing)["notes.txt"] == b"mine"


def test_a_repository_that_somebody_else_made_meanwhile_is_never_removed(small, writing):
    number = at(writing, small, "/commit/main")

    def make() -> None:
        if found(writing) is None:
            writing.hub.add("models", ID, {".gitattributes": GIT_ATTRIBUTES}, private=True)

    writing.faults, writing.before = {number: "403"}, {"repos/create": make}
    assert "does not let this token write" in refused(small)
    assert found(writing) == {".gitattributes": GIT_ATTRIBUTES}


@pytest.mark.parametrize("part", ["whoami", "preupload", "PUT", "/commit/main"])
def test_a_stop_leaves_the_hub_as_it_was(part, small, writing):
    asked = []
    writing.faults = {at(writing, small, part): "503"}
    writing.before = {part: lambda: asked.append(part)}
    assert refused(small, should_stop=lambda: bool(asked)) == "stopped; nothing was published"
    assert found(writing) is None


def test_a_stop_after_the_commit_was_carried_out_comes_too_late(small, writing):
    asked = []
    writing.faults = {at(writing, small, "/commit/main"): "lost"}
    writing.before = {"/commit/main": lambda: asked.append(1)}
    assert send(small, should_stop=lambda: bool(asked))[1].commit
    assert found(writing) == expected(small)


def test_a_stop_while_it_waits_ends_the_wait(small, writing):
    number = at(writing, small, "/commit/main")
    writing.faults, writing.retry_after = {number: "429"}, "200"
    steps, waited = publishing(small, ID, token=FRIEND), False
    started = time.monotonic()
    for event in steps:
        if isinstance(event, Waiting):
            waited = True
            steps.close()
    assert waited and time.monotonic() - started < 10
    assert found(writing) is None
