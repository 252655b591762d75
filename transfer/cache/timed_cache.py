"""A small cache in memory, bounded in size and time."""

import time


class TimedCache:
    """At most `size` values, each for `seconds`; the oldest is dropped first."""

    def __init__(self, size: int, seconds: float):
        self.size, self.seconds = size, seconds
        self._items: dict[object, tuple] = {}

    def get(self, key):
        since, value = self._items.get(key, (0.0, None))
        return value if time.monotonic() - since < self.seconds else None

    def put(self, key, value):
        """Returns `value`. A new dict each time, so that other threads may read the old one."""
        others = [(k, item) for k, item in self._items.items() if k != key]
        newest = others[max(0, len(others) + 1 - self.size) :]
        self._items = dict(newest) | {key: (time.monotonic(), value)}
        return value
