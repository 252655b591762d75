import threading

import pytest

from tests.waiting import SECONDS, Threads, wait_for
from transfer.data import prefetch
from transfer.data.prefetch import read_ahead
from transfer.errors import SourceError


@pytest.fixture
def two_processors(monkeypatch):
    monkeypatch.setattr(prefetch, "processors", lambda: 2)


def test_results_come_in_order_although_the_first_is_slow(two_processors):
    second = threading.Event()

    def read(batch):
        if batch == 0:
            assert second.wait(SECONDS)
        second.set()
        return -batch

    assert list(read_ahead(read, range(20))) == [(n, -n) for n in range(20)]
    assert list(read_ahead(read, [])) == []


@pytest.mark.parametrize(("at_once", "begun"), [(None, 3), (4, 5)])
def test_a_few_batches_are_read_ahead_and_nothing_once_closed(two_processors, at_once, begun):
    threads, seen = Threads(), []
    ahead = read_ahead(seen.append, iter(range(20)), at_once)
    assert seen == []
    assert next(ahead) == (0, None)
    wait_for(lambda: len(seen) >= begun)
    ahead.close()
    assert sorted(seen) == list(range(begun)) and not threads.alive


def test_an_error_is_raised_in_its_place(two_processors):
    threads = Threads()

    def read(batch):
        if batch == 3:
            raise SourceError("gone")
        return batch

    ahead = read_ahead(read, range(20))
    assert [next(ahead)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SourceError, match="gone"):
        next(ahead)
    assert not threads.alive
