"""Reading ahead: threads open images while whoever asks for them is busy."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_ahead(read: Callable, batches: list) -> Iterator[tuple]:
    """(batch, read(batch)) in order, read by threads while whoever asks is busy."""
    with ThreadPoolExecutor(max_workers=processors()) as pool:
        waiting: deque = deque()
        try:
            for batch in batches:
                waiting.append((batch, pool.submit(read, batch)))
                if len(waiting) > processors():
                    batch, result = waiting.popleft()
                    yield batch, result.result()
            while waiting:
                batch, result = waiting.popleft()
                yield batch, result.result()
        finally:
            pool.shutdown(cancel_futures=True)
