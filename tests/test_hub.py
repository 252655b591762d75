import sys
import time

import pytest

from transfer import hub
from transfer.errors import SourceError, WeightsError
from transfer.hub import HubUnavailable, explain, is_unavailable, wait_for, with_deadline


def with_status(kind, status: int):
    """An error of the Hub's clients, as an answer of this status makes it."""
    from huggingface_hub.utils import httpx

    request = httpx.Request("GET", "http://127.0.0.1/api/models/user/name?token=secret")
    return kind("wrong\nin many lines", response=httpx.Response(status, request=request))


def errors() -> dict[str, Exception]:
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx

    return {
        "gated": with_status(errors.GatedRepoError, 403),
        "unknown": with_status(errors.RepositoryNotFoundError, 404),
        "revision": with_status(errors.RevisionNotFoundError, 404),
        "token": with_status(errors.HfHubHTTPError, 401),
        "many": with_status(errors.HfHubHTTPError, 429),
        "busy": with_status(errors.HfHubHTTPError, 503),
        "offline": errors.OfflineModeIsEnabled("offline"),
        "cache": errors.LocalEntryNotFoundError("not in the cache"),
        "reset": ConnectionResetError(104, "reset"),
        "refused": httpx.ConnectError("refused"),
        "other": KeyError("secret"),
    }


def fail(error: Exception):
    def call():
        raise error

    return call


def test_an_answer_in_time_is_returned_and_an_error_raised():
    assert with_deadline(lambda: 7) == 7
    with pytest.raises(KeyError):
        with_deadline(fail(KeyError("x")))
    with pytest.raises(HubUnavailable):
        with_deadline(fail(ConnectionRefusedError()))


def test_a_late_answer_means_that_the_hub_is_unavailable():
    started = time.monotonic()
    with pytest.raises(HubUnavailable):
        with_deadline(lambda: time.sleep(5), seconds=0.1)
    assert time.monotonic() - started < 2


def test_which_errors_mean_that_the_hub_is_unavailable():
    unavailable = {name for name, error in errors().items() if is_unavailable(error)}
    assert unavailable == {"busy", "offline", "cache", "reset", "refused"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gated", "terms to be accepted"),
        ("unknown", "found none called"),
        ("revision", "found none called"),
        ("token", "status 401); sign in again"),
        ("many", "status 429); wait a minute"),
        ("busy", "does not answer"),
        ("other", "KeyError"),
    ],
)
def test_each_failure_gets_one_line_that_names_the_repository(name, words):
    message = explain(errors()[name], "dataset", "user/name", SourceError)
    assert isinstance(message, SourceError)
    assert words in str(message) and "dataset" in str(message) and "'user/name'" in str(message)
    assert "\n" not in str(message) and "secret" not in str(message) and "http" not in str(message)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ALL_PROXY", "socks5://u:secret@127.0.0.1:1080", "ALL_PROXY names a SOCKS proxy"),
        ("https_proxy", "secret:port", "https_proxy is no address"),
        ("HTTP_PROXY", "ftp://secret", "HTTP_PROXY is no address"),
        ("HF_TOKEN", "hf_secret€", "the token in HF_TOKEN has characters"),
        ("SSL_CERT_FILE", "/nowhere/secret.pem", "SSL_CERT_FILE names no file"),
        ("HTTPS_PROXY", "http://secret:3128", "does not answer through the proxy of HTTPS_PROXY"),
    ],
)
def test_a_setting_of_this_machine_is_named_as_the_cause(monkeypatch, variable, value, words):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setitem(sys.modules, "socksio", None)  # not installed
    monkeypatch.setenv(variable, value)
    for error in (HubUnavailable(), errors()["refused"]):
        message = str(explain(error, "dataset", "user/name", SourceError))
        assert words in message and "'user/name'" in message and "secret" not in message
    for name in ("unknown", "many"):  # the Hub has answered
        assert words not in str(explain(errors()[name], "dataset", "user/name", SourceError))


@pytest.mark.parametrize(
    ("constant", "value", "words"),
    [("HF_HUB_OFFLINE", True, "OFFLINE is set"), ("ENDPOINT", "hf-mirror.com", "HF_ENDPOINT has")],
)
def test_a_setting_of_the_hub_s_client_is_named_as_the_cause(monkeypatch, constant, value, words):
    monkeypatch.setattr(f"huggingface_hub.constants.{constant}", value)
    assert words in str(explain(HubUnavailable(), "model", "user/name", WeightsError))


def test_an_error_that_is_explained_already_stays_as_it_is():
    explained = SourceError("expected a cat")
    assert explain(explained, "model", "a/b", WeightsError) is explained


@pytest.mark.parametrize("name", ["gated", "unknown"])
def test_visitors_of_a_space_are_not_asked_to_sign_in_on_the_server(monkeypatch, name):
    monkeypatch.setenv("SYSTEM", "spaces")
    message = str(explain(errors()[name], "dataset", "user/name", SourceError))
    assert "hf auth login" not in message and "on your own machine" in message


@pytest.fixture
def frequent_pings(monkeypatch):
    monkeypatch.setattr(hub, "PING_SECONDS", 0.03)


@pytest.mark.parametrize("ping", [lambda: 1, fail(KeyError())], ids=["answer", "refusal"])
def test_a_long_download_goes_on_while_the_hub_answers(frequent_pings, ping):
    assert wait_for(lambda: time.sleep(0.3) or 7, ping) == 7


@pytest.mark.parametrize(
    "ping", [fail(ConnectionRefusedError()), lambda: time.sleep(5)], ids=["gone", "silent"]
)
def test_a_download_is_given_up_after_several_pings_without_an_answer(frequent_pings, ping):
    started = time.monotonic()
    with pytest.raises(HubUnavailable):
        wait_for(lambda: time.sleep(20), ping)
    assert 0.05 < time.monotonic() - started < 15


def test_a_hub_that_answers_again_resets_the_count(frequent_pings):
    gone = fail(ConnectionRefusedError())
    answers = iter([gone, gone, lambda: 1] * 100)
    assert wait_for(lambda: time.sleep(0.4) or 7, lambda: next(answers)()) == 7


def test_the_download_s_own_error_is_raised():
    with pytest.raises(KeyError):
        wait_for(fail(KeyError("x")), lambda: 1)
