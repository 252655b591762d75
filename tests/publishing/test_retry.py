import time

import pytest

from tests.publishing.sending import Clock, at, found, refused, send
from transfer.publishing import Waiting, retry


def test_the_wait_that_the_hub_asks_for_is_told_and_kept(small, writing):
    number = at(writing, small, "/commit/main")
    writing.faults, writing.retry_after = {number: "429"}, "1"
    started = time.monotonic()
    events, _ = send(small)
    waits = [event for event in events if isinstance(event, Waiting)]
    assert time.monotonic() - started > 1
    assert waits[0].seconds == pytest.approx(1, abs=0.1) and "too many requests" in waits[0].why


def test_the_waits_of_the_client_itself_are_told(small, writing, monkeypatch):
    monkeypatch.setattr("transfer.hub.SHOW_SECONDS", 0.01)
    monkeypatch.setattr(Clock, "longest", 1.0)
    number = at(writing, small, "preupload")
    writing.faults = {number: "503"}
    events, _ = send(small)
    assert [event.why for event in events if isinstance(event, Waiting)][:1] == ["the Hub is busy"]


def test_a_wait_that_is_too_long_is_not_waited_for(small, writing):
    number = at(writing, small, "/commit/main")
    writing.faults, writing.retry_after = {number: "429"}, "900"
    assert "asks to wait 900 seconds" in refused(small)
    assert found(writing) is None


def test_it_is_tried_a_few_times_and_longer_apart(small, writing, monkeypatch):
    monkeypatch.setattr(retry, "WAIT_SECONDS", 0.02)
    number = at(writing, small, "whoami")
    writing.faults = {number: "503…"}
    assert "is busy (status 503)" in refused(small)
    assert len(writing.seen) == retry.TRIES
    assert [n for n in retry.pauses() if n] == [0.02, 0.04, 0.08]
