import os
import threading
import time

import pytest

from tests.waiting import SECONDS, Threads, wait_for
from transfer.data import prefetch as reading
from transfer.data.prefetch import processors, read_ahead
from transfer.errors import SourceError


@pytest.fixture
def two_processors(monkeypatch):
    monkeypatch.setattr(reading, "processors", lambda: 2)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="not told on this system")
def test_only_processors_that_this_process_may_use_count(monkeypatch):
    assert processors() == len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 4, 70} if not process else {})
    assert processors() == 3


@pytest.mark.parametrize(("told", "count"), [(7, 7), (None, 1)])
def test_where_a_system_does_not_say_which_all_processors_count(monkeypatch, told, count):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: told)
    assert processors() == count


def test_what_is_read_ahead_comes_in_order(two_processors):
    def read(batch):
        time.sleep(0.003 * (batch % 3 == 0))
        return -batch

    assert list(read_ahead(read, list(range(20)))) == [(n, -n) for n in range(20)]
    assert list(read_ahead(read, [])) == []


def test_a_little_is_read_ahead_and_nothing_more_once_closed(two_processors):
    threads, begun, third = Threads(), [], threading.Event()

    def read(batch):
        begun.append(batch)
        if len(begun) == 3:
            third.set()

    ahead = read_ahead(read, list(range(20)))
    assert begun == []
    assert next(ahead) == (0, None)
    assert third.wait(timeout=SECONDS)
    time.sleep(0.02)
    assert sorted(begun) == [0, 1, 2]
    ahead.close()
    assert len(begun) == 3 and not threads.alive


def test_what_fails_while_it_is_read_ahead_is_raised_in_its_place(two_processors):
    threads = Threads()

    def read(batch):
        if batch == 3:
            raise SourceError("gone")
        return batch

    ahead = read_ahead(read, list(range(20)))
    assert [next(ahead)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SourceError, match="gone"):
        next(ahead)
    assert not threads.alive


def test_no_more_is_read_ahead_than_told(two_processors):
    begun = []
    ahead = read_ahead(begun.append, iter(range(20)), at_once=4)
    next(ahead)
    wait_for(lambda: len(begun) >= 5)
    time.sleep(0.02)
    assert sorted(begun) == [0, 1, 2, 3, 4]
    ahead.close()
