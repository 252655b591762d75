"""Large libraries, imported when they are first needed, and never two at the same time."""

import threading
from functools import cache
from importlib import import_module

DIGITS_NEED = "sklearn.datasets"
# SciPy, which `sklearn.datasets` imports, inspects torch and fails while that is being imported
_lock = threading.Lock()


@cache
def lazy_import(name: str) -> None:
    with _lock:
        import_module(name)
