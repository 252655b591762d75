"""An order for a training, carried out: what it says, as records that another process can read.

An order holds `source`, `out`, `options` and, where only a beginning is wanted, `until`: the name
of the event after which it is laid down. Whatever was laid down or cut off is gone on from.
"""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

from transfer.events import TRANSIENT, Event, to_json
from transfer.jobs.job import begins_to_learn
from transfer.runs.checkpoint import has_checkpoint
from transfer.runs.run import CHECKPOINT

SECONDS_BETWEEN_PASSING_EVENTS = 0.25
LAID_DOWN = {"laid_down": True}


class StopSignal(Protocol):
    """What whoever ordered the training wants by now."""

    def begin_to_learn(self) -> None:
        """From now on a stop keeps what was learned, unless it has come already."""

    def should_stop(self) -> bool:
        """Whether to end the phase; raises KeyboardInterrupt when nothing is to be kept."""


def carry_out(
    order: dict, wishes: StopSignal, enough: Callable[[Event], bool] = lambda event: False
) -> Iterator[dict]:
    """Yields every event, of passing ones a few a second, and at the end `{"error": sentence}` or
    LAID_DOWN, once `enough` says so of an event, unless a RunSaved has come.

    Raises KeyboardInterrupt when it is ended with nothing to keep.
    """
    from transfer.errors import TransferError
    from transfer.training.recipe import training_events

    options, told = order["options"], 0.0
    if has_checkpoint(Path(order["out"]) / CHECKPOINT):
        wishes.begin_to_learn()
    training = training_events(
        order["source"], out=order["out"], should_stop=wishes.should_stop, resume=True, **options
    )
    try:
        with closing(training):
            for event in training:
                if begins_to_learn(event, options):
                    wishes.begin_to_learn()
                wishes.should_stop()
                passing = isinstance(event, TRANSIENT)
                if not passing or time.monotonic() - told > SECONDS_BETWEEN_PASSING_EVENTS:
                    told = time.monotonic()
                    yield to_json(event)
                if type(event).__name__ == order.get("until") or enough(event):
                    yield LAID_DOWN
                    return
    except TransferError as error:
        yield {"error": str(error)}
    except MemoryError:
        yield {"error": "there was not enough memory; choose a smaller image size"}
    except Exception as error:
        with suppress(OSError):
            traceback.print_exc()
        name = type(error).__name__
        yield {"error": f"the training broke off ({name}); its log says where"}
