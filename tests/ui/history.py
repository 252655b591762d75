"""A training's history as the page gets it."""

from transfer.events import EpochDone, Event, PhaseDone, PhaseStarted


def epoch(phase: str, number: int, accuracy: float, of: int = 3) -> EpochDone:
    return EpochDone(
        phase=phase,
        epoch=number,
        epochs=of,
        loss=None if number == 0 else 1.0 / number,
        validation_loss=1.2 / (number + 1),
        validation_accuracy=accuracy,
        best=True,
        seconds=0.5,
        seconds_left=2.0,
        drift={"head": 0.1 * number, "block5": 0.01 * number},
    )


def phase(name: str, accuracies: list[float], learns: list[str]) -> list[Event]:
    started = PhaseStarted(phase=name, epochs=3, trainable=10, parameters=100, learns=learns)
    done = PhaseDone(
        phase=name,
        epochs=3,
        best_epoch=3,
        accuracy=accuracies[-1],
        seconds=1.0,
        ended="epoch limit",
    )
    return [started, *(epoch(name, i, a) for i, a in enumerate(accuracies)), done]


def history() -> list[Event]:
    return [
        *phase("warm-up", [0.1, 0.6, 0.7, 0.8], ["head"]),
        *phase("fine-tune", [0.8, 0.85, 0.88, 0.9], ["block5", "head"]),
    ]
