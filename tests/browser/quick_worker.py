"""A worker without torch: epochs at once or for ever; leaves a copy of a run, if it is given one.

With a run it ends after an epoch. Without one it goes on until it is stopped, and keeps nothing.
"""

import json
import shutil
import sys
import threading
from pathlib import Path

SECONDS_AN_EPOCH = 0.15
EPOCHS = 10_000


def say(**message) -> None:
    print(json.dumps(message), flush=True)


def epoch(number: int) -> None:
    say(
        event="EpochDone",
        phase="warm-up",
        epoch=number,
        epochs=EPOCHS,
        loss=1 / number,
        validation_loss=1 / number,
        validation_accuracy=0.5,
        best=True,
        seconds=SECONDS_AN_EPOCH,
        seconds_left=SECONDS_AN_EPOCH * (EPOCHS - number),
        drift={"head": 0.1},
    )


def main() -> None:
    line = sys.stdin.readline()
    if not line.strip():
        return
    order = json.loads(line)
    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True).start()
    say(event="WeightsChosen", weights="random", reason="asked for")
    say(
        event="Estimated",
        seconds={"warm-up": SECONDS_AN_EPOCH * EPOCHS},
        cached="nothing is cached",
    )
    say(event="PhaseStarted", phase="warm-up", epochs=EPOCHS, trainable=1, parameters=2,
        learns=["head"])  # fmt: skip
    number = 1
    epoch(number)
    if len(sys.argv) > 1:
        shutil.copytree(sys.argv[1], order["out"])
        say(event="RunSaved", run=order["out"], result=result(order["out"]))
        return
    while not stopped.wait(SECONDS_AN_EPOCH):
        number += 1
        epoch(number)


def result(run: str) -> dict:
    return json.loads(Path(run, "run.json").read_text())["result"]


if __name__ == "__main__":
    main()
