"""Reading ahead: threads open images while whoever asks for them is busy."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_ahead(read: Callable, batches: Iterable, at_once: int | None = None) -> Iterator[tuple]:
    """(batch, read(batch)) in order, read by threads while whoever asks is busy: `at_once` of them,
    as many as there are processors unless told, and no more results wait."""
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
