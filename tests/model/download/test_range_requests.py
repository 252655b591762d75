import time

import pytest

from tests import hub_server
from tests.hub_cuts import Served, sent_on, without_ranges
from tests.hub_server import FRIEND
from transfer.hub import HubUnavailable
from transfer.model.download import range_requests
from transfer.model.download.range_requests import Attempts, NoRanges, find_file, lost

NAME, FILE = "timm/remote.tv_in1k", "model.safetensors"
CONTENT = bytes(range(256)) * 100


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(range_requests, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def file(hub):
    return put(hub)[1]


def put(hub, **more) -> tuple[Served, range_requests.RemoteFile]:
    content = Served(CONTENT, **more)
    hub.add("models", NAME, {FILE: content})
    return content, find_file(NAME, FILE, "main")


def test_what_the_hub_says_of_a_file(hub, file):
    repository = hub.find("models", NAME)
    assert (file.commit, file.bytes) == (repository.sha, len(CONTENT))
    assert file.etag == hub_server._etag(CONTENT)
    assert file.url.startswith(hub.endpoint) and file.commit in file.url


def test_any_part_can_be_read(file):
    for start, stop in ((0, 1), (1000, 3000), (len(CONTENT) - 1, len(CONTENT))):
        assert file.read(start, stop) == CONTENT[start:stop]


def test_a_part_goes_on_where_it_broke(hub):
    content, file = put(hub, cuts=[100, 200, 300])
    assert file.read(50, 400) == CONTENT[50:400]
    assert content.sent == [(50, 50), (100, 100), (200, 100), (300, 100)]


def test_a_part_that_breaks_at_the_same_place_again_and_again_is_given_up(hub):
    content, file = put(hub, cuts=[100] * 9)
    with pytest.raises(lost()):
        file.read(50, 400)
    assert content.sent == [(50, 50), *[(100, 0)] * (range_requests.MOST_ATTEMPTS - 1)]


def test_a_part_that_comes_too_slowly_is_given_up(file, monkeypatch):
    def trickle(handler, status, data, headers):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        for byte in data:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.02)
        return len(data)

    monkeypatch.setattr(range_requests, "MOST_SECONDS", 0.1)
    started, come = time.monotonic(), []
    with monkeypatch.context() as patch:
        patch.setattr(hub_server._Handler, "send", trickle)
        with pytest.raises(TimeoutError):
            come += file.stream(0, 1000)
    assert time.monotonic() - started < 2


def answering(monkeypatch, status: int, headers: dict[str, str]):
    def answer(handler, data, commit):
        known = {"X-Repo-Commit": commit, "Content-Range": f"bytes 10-19/{len(data)}"}
        return handler.send(status, data[10:20], known | headers)

    return monkeypatch.setattr(hub_server._Handler, "send_range", answer)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {}),
        (206, {"Content-Range": "bytes 11-20/25600"}),
        (206, {"Content-Range": "bytes 10-19/25601"}),
        (206, {"Content-Range": ""}),
        (206, {"Content-Encoding": "gzip"}),
    ],
)
def test_an_answer_to_something_else_is_no_range(file, monkeypatch, status, headers):
    answering(monkeypatch, 206, {})
    assert file.read(10, 20) == CONTENT[10:20]
    answering(monkeypatch, status, headers)
    with pytest.raises(NoRanges):
        file.read(10, 20)


def test_more_than_was_asked_for_is_cut_off(file, monkeypatch):
    def answer(handler, data, commit):
        return handler.send(206, data, {"Content-Range": f"bytes 10-19/{len(data)}"})

    monkeypatch.setattr(hub_server._Handler, "send_range", answer)
    assert file.read(10, 20) == CONTENT[:10]


def test_the_whole_is_not_taken_in_where_a_part_was_asked_for(file, monkeypatch):
    with without_ranges(monkeypatch), pytest.raises(NoRanges) as caught:
        file.read(10, 20)
    assert caught.value.bytes == len(CONTENT)


def test_a_file_without_a_commit_is_none_to_take_parts_of(hub, monkeypatch):
    put(hub)
    monkeypatch.setattr(
        hub_server._Handler, "send_range", lambda handler, data, _: handler.send(200, data)
    )
    with pytest.raises(NoRanges):
        find_file(NAME, FILE, "main")


def test_the_token_goes_to_the_hub_and_no_further(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    hub.add("models", NAME, {FILE: CONTENT}, private=True)
    with sent_on(monkeypatch) as store:
        file = find_file(NAME, FILE, "main")
        assert file.bytes == len(CONTENT)
        assert file.read(5, 50) == CONTENT[5:50]
        assert store.tokens == [None]


def test_no_hub_is_silence(hub):
    with hub.gone(), pytest.raises(HubUnavailable):
        find_file(NAME, FILE, "main")


def test_patience_ends_after_some_errors_in_a_row_and_begins_anew_after_a_success(monkeypatch):
    pauses = []
    monkeypatch.setattr(range_requests.time, "sleep", pauses.append)
    attempts = Attempts()
    for _ in range(2):
        for _ in range(range_requests.MOST_ATTEMPTS - 1):
            with attempts:
                raise ConnectionError
        with attempts:
            pass
    assert pauses == [0.01, 0.02, 0.04] * 2
    with pytest.raises(KeyError), attempts:
        raise KeyError
    with pytest.raises(ConnectionError):
        for _ in range(range_requests.MOST_ATTEMPTS):
            with attempts:
                raise ConnectionError
