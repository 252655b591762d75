"""A training's history as the page gets it."""

from transfer.events import EpochDone, Event, PhaseStarted


def epoch(phase: str, number: int, accuracy: float) -> EpochDone:
    return EpochDone(
        phase=phase,
        epoch=number,
        epochs=3,
        loss=None if number == 0 else 1.0 / number,
        validation_loss=1.2 / (number + 1),
        validation_accuracy=accuracy,
        best=True,
        seconds=0.5,
        seconds_left=2.0,
        drift={"head": 0.1 * number, "block5": 0.01 * number},
    )


def history() -> list[Event]:
    """Two phases of three epochs each: events 0 to 4, and 5 to 9."""
    found = []
    for phase, learns in (("warm-up", ["head"]), ("fine-tune", ["block5", "head"])):
        counts = {"epochs": 3, "trainable": 10, "parameters": 100}
        found.append(PhaseStarted(phase=phase, learns=learns, **counts))
        found += [epoch(phase, at, accuracy) for at, accuracy in enumerate((0.8, 0.85, 0.88, 0.9))]
    return found
