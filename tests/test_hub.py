import time

import pytest

from tests.waiting import SECONDS
from transfer import hub
from transfer.errors import SourceError, WeightsError
from transfer.hub import HubUnavailable, ask, explain, is_silence


def with_status(kind, status: int):
    """An error of the Hub's clients as an answer of this status makes it."""
    from huggingface_hub.utils import httpx

    request = httpx.Request("GET", "http://127.0.0.1/api/models/user/name?token=secret")
    return kind("wrong\nin many lines", response=httpx.Response(status, request=request))


def errors() -> dict[str, Exception]:
    from huggingface_hub import errors

    return {
        "gated": with_status(errors.GatedRepoError, 403),
        "unknown": with_status(errors.RepositoryNotFoundError, 404),
        "revision": with_status(errors.RevisionNotFoundError, 404),
        "spelling": errors.HFValidationError("no such id"),
        "token": with_status(errors.HfHubHTTPError, 401),
        "many": with_status(errors.HfHubHTTPError, 429),
        "busy": with_status(errors.HfHubHTTPError, 503),
        "offline": errors.OfflineModeIsEnabled("offline"),
        "cache": errors.LocalEntryNotFoundError("not in the cache"),
        "reset": ConnectionResetError(104, "reset"),
        "other": KeyError("secret"),
    }


def test_an_answer_in_time_is_handed_on():
    assert ask(lambda: 7) == 7
    assert ask(lambda: None) is None


def test_a_late_answer_is_silence():
    started = time.monotonic()
    with pytest.raises(HubUnavailable):
        ask(lambda: time.sleep(5), seconds=0.1)
    assert time.monotonic() - started < 2


def test_what_goes_wrong_is_raised_here():
    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        ask(fail)


def test_nobody_there_is_silence():
    def fail():
        raise ConnectionRefusedError

    with pytest.raises(HubUnavailable):
        ask(fail)


def test_what_counts_as_silence():
    from huggingface_hub.utils import httpx

    silent = {name for name, error in errors().items() if is_silence(error)}
    assert silent == {"busy", "offline", "cache", "reset"}
    assert is_silence(httpx.ConnectError("refused")) and is_silence(httpx.ReadTimeout("slow"))
    assert is_silence(HubUnavailable())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gated", "terms to be accepted"),
        ("unknown", "found none called"),
        ("revision", "found none called"),
        ("spelling", "found none called"),
        ("token", "status 401); sign in anew"),
        ("many", "status 429); wait a minute"),
        ("busy", "does not answer"),
        ("offline", "does not answer"),
        ("cache", "does not answer"),
        ("reset", "does not answer"),
        ("other", "KeyError"),
    ],
)
def test_each_failure_is_one_line_that_names_what_was_asked_for(name, words):
    message = explain(errors()[name], "data set", "user/name", SourceError)
    assert isinstance(message, SourceError)
    assert words in str(message) and "data set" in str(message) and "'user/name'" in str(message)
    assert "\n" not in str(message) and "secret" not in str(message) and "http" not in str(message)


def test_the_error_is_of_the_kind_asked_for():
    assert isinstance(explain(KeyError(), "model", "a/b", WeightsError), WeightsError)


@pytest.mark.parametrize("name", ["gated", "unknown"])
def test_who_cannot_sign_in_on_the_server_is_not_told_to(monkeypatch, name):
    monkeypatch.setenv("SYSTEM", "spaces")
    message = str(explain(errors()[name], "data set", "user/name", SourceError))
    assert "hf auth login" not in message and "on your own machine" in message


def test_what_is_already_told_stays_as_it_is():
    told = SourceError("expected a cat")
    assert explain(told, "model", "a/b", WeightsError) is told


@pytest.fixture
def impatient_looks(monkeypatch):
    """It is looked often, and every look waits as long for an answer."""
    monkeypatch.setattr(hub, "LOOK_SECONDS", 0.05)


@pytest.fixture
def quick_looks(impatient_looks, monkeypatch):
    """It is looked often, but an answer may take its time."""
    ask = hub.ask
    monkeypatch.setattr(hub, "ask", lambda call, seconds: ask(call, SECONDS))


def nobody():
    raise ConnectionRefusedError


def test_a_long_download_is_waited_for_while_the_hub_answers(quick_looks):
    looks = []
    assert hub.watch(lambda: time.sleep(0.6) or 7, lambda: looks.append(1)) == 7
    assert looks


def test_a_refusal_is_an_answer_too(quick_looks):
    def refuse():
        raise KeyError

    assert hub.watch(lambda: time.sleep(0.4) or 7, refuse) == 7


@pytest.mark.parametrize("look", [nobody, lambda: time.sleep(5)], ids=["gone", "silent"])
def test_a_download_from_a_hub_that_went_is_given_up(impatient_looks, look):
    started = time.monotonic()
    with pytest.raises(HubUnavailable):
        hub.watch(lambda: time.sleep(20), look)
    assert 0.1 < time.monotonic() - started < 15


def test_a_hub_that_comes_back_is_waited_for(quick_looks):
    answers = iter([nobody, nobody, lambda: 1] * 10)
    assert hub.watch(lambda: time.sleep(0.5) or 7, lambda: next(answers)()) == 7


def test_what_a_download_raises_is_raised_here(quick_looks):
    def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        hub.watch(fail, nobody)
    with pytest.raises(HubUnavailable):
        hub.watch(nobody, lambda: None)
