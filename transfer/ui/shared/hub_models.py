"""Models of the Hub that are open: each once, and one after the other, for they may be large."""

import threading
import time
from typing import TYPE_CHECKING

from transfer.errors import TransferError
from transfer.ui.shared.lazy_import import lazy_import

if TYPE_CHECKING:
    from transfer.inference.classifier import Classifier

MODELS_KEPT, REFUSALS_KEPT = 2, 16
SECONDS_A_MODEL_IS_KEPT = 600.0  # then it is looked whether the Hub has another
SECONDS_A_REFUSAL_HOLDS = 10.0  # one choice on the page asks for its model several times


class HubModels:
    """By their names as `open_classifier` has them; `token` is what all of them are asked with."""

    def __init__(self, token: bool | None):
        self._token = token
        self._opening = threading.Lock()
        self._open: dict[str, tuple[float, Classifier]] = {}
        self._refused: dict[str, tuple[float, TransferError]] = {}

    def classifier(self, name: str) -> "Classifier":
        """One that is open waits for no other. Raises TransferError."""
        if found := _young(self._open, name, SECONDS_A_MODEL_IS_KEPT):
            return found
        with self._opening:
            if found := _young(self._open, name, SECONDS_A_MODEL_IS_KEPT):
                return found
            if refusal := _young(self._refused, name, SECONDS_A_REFUSAL_HOLDS):
                raise type(refusal)(str(refusal))
            return self._opened(name)

    def _opened(self, name: str) -> "Classifier":
        lazy_import("torch")
        from transfer.inference.loading import open_classifier

        try:
            opened = open_classifier(f"hub:{name}", self._token)
        except TransferError as error:
            refusal = type(error)(str(error))  # without what was in memory when it was raised
            self._refused = _with(self._refused, name, refusal, REFUSALS_KEPT)
            raise
        self._open = _with(self._open, name, opened, MODELS_KEPT)
        return opened


def _young(kept: dict, name: str, seconds: float):
    """What was kept less than so many seconds ago, else None."""
    since, found = kept.get(name, (0.0, None))
    return found if time.monotonic() - since < seconds else None


def _with(kept: dict, name: str, found, most: int) -> dict:
    """The newest of what is kept, `most` in all, the last of them `found`."""
    others = [(other, item) for other, item in kept.items() if other != name]
    return dict(others[1 - most :]) | {name: (time.monotonic(), found)}
