"""Reading ahead: threads open images while the caller is busy with those before."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor


def processors() -> int:
    """The number that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_ahead(read: Callable, batches: Iterable, at_once: int | None = None) -> Iterator[tuple]:
    """(batch, read(batch)) in order, read by `at_once` threads, by default one a processor; as many
    results wait at most."""
    at_once = at_once or processors()
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        waiting: deque = deque()
        try:
            for batch in batches:
                waiting.append((batch, pool.submit(read, batch)))
                if len(waiting) > at_once:
                    batch, result = waiting.popleft()
                    yield batch, result.result()
            while waiting:
                batch, result = waiting.popleft()
                yield batch, result.result()
        finally:
            pool.shutdown(cancel_futures=True)
