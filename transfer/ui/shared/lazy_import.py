"""Large libraries, imported when they are first needed, and never two at the same time."""

import threading
from importlib import import_module

DIGITS_NEED = "sklearn.datasets"
_lock = threading.Lock()
_imported: set[str] = set()


def lazy_import(name: str) -> None:
    """Import a library.

    SciPy, which `sklearn.datasets` imports, inspects torch and fails while another thread is
    importing it.
    """
    if name not in _imported:
        with _lock:
            import_module(name)
            _imported.add(name)
