"""The large libraries, imported when they are first needed, and never two at once."""

import threading
from importlib import import_module

DIGITS_NEED = "sklearn.datasets"
_one_at_a_time = threading.Lock()
_whole: set[str] = set()


def lazy_import(name: str) -> None:
    """Import a library. SciPy looks into torch and fails on one that another thread is importing.

    `sklearn.datasets` brings SciPy; once it is there, torch may come at any time.
    """
    if name in _whole:
        return
    with _one_at_a_time:
        import_module(name)
        _whole.add(name)
