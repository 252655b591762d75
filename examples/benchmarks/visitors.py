"""Many visitors classify at once while one trains: seconds an answer, errors, memory of the app.

    python -m examples.benchmarks.visitors --out visitors.json

Starts the app in a process of its own, a training of the digits in it, and as many visitors as
asked, each of whom sends the next picture as soon as the last one is answered. Clients and app
share the machine.
"""

import datetime
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import psutil
import typer
from PIL import Image
from sklearn.datasets import load_digits

from examples.benchmarks.steps import machine

ROOT = Path(__file__).parents[2]
PICTURES = 50
SECONDS_OF_REST = 15
RUN = "example:digits"
TRAINING = {"weights": "bundled", "head_epochs": 60, "finetune_epochs": 60, "unfreeze": "block4"}


def main(
    out: Annotated[Path, typer.Option(help="The JSON to write.")],
    visitors: int = 50,
    seconds: float = 60.0,
    rounds: int = 3,
) -> None:
    with app() as (address, process):
        uploaded = [upload(address, picture) for picture in pictures()]
        ask(address, uploaded[0])  # the first one loads the network
        before = megabytes(process)
        job = call(address, "start_training", ["digits", TRAINING])
        measured = []
        for _ in range(rounds):
            measured.append(measure(address, process, uploaded, visitors, seconds))
            state = call(address, "training_status", [job["job"]])["state"]
            measured[-1]["training"] = state
            print(measured[-1], flush=True)
        call(address, "stop_training", [job["job"]])
        time.sleep(SECONDS_OF_REST)
        memory = {"before_megabytes": before, "afterwards_megabytes": megabytes(process)}
    date = datetime.date.today().isoformat()
    found = {"date": date, "visitors": visitors, "seconds": seconds, "rounds": measured}
    found |= memory
    out.write_text(json.dumps({"machine": machine()} | found, indent=1))


@contextmanager
def app() -> Iterator[tuple[str, psutil.Process]]:
    """(address, process) of the app, with an empty folder of runs."""
    with socket.socket() as probe, tempfile.TemporaryDirectory() as runs:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), "--runs", runs], cwd=ROOT
        )
        try:
            wait_for(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def wait_for(address: str) -> None:
    while True:
        try:
            return httpx.get(address, timeout=5).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)


def pictures() -> list[bytes]:
    """Handwritten digits as PNG, 64 px a side."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digit.png"
        found = []
        for digit in load_digits().images[:PICTURES]:
            grey = Image.fromarray((digit * 15.9).astype(np.uint8)).resize((64, 64))
            grey.save(path)
            found.append(path.read_bytes())
        return found


def upload(address: str, picture: bytes) -> dict:
    files = {"files": ("digit.png", picture)}
    path = httpx.post(f"{address}/gradio_api/upload", files=files, timeout=60).json()[0]
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def ask(
    address: str, file: dict, client: httpx.Client | None = None, session: str | None = None
) -> list:
    return call(address, "classify", [file, RUN, 5], client, session)


def call(
    address: str,
    name: str,
    data: list,
    client: httpx.Client | None = None,
    session: str | None = None,
):
    """What an endpoint answers; raises RuntimeError on anything else.

    A page, and gradio's own client, has one session for all that it asks.
    """
    client = client or httpx.Client(timeout=120)
    address = f"{address}/gradio_api/call/{name}"
    asked = {"data": data, "session_hash": session}
    event = client.post(address, json=asked).raise_for_status().json()["event_id"]
    answer = client.get(f"{address}/{event}").text
    kind, _, told = answer.strip().partition("\n")
    if kind != "event: complete":
        raise RuntimeError(answer)
    return json.loads(told.removeprefix("data: "))[0]


def measure(address, process, uploaded, visitors: int, seconds: float) -> dict:
    """One round: seconds an answer over all visitors, errors, and the app's memory after it."""
    took, errors, end = [], [], time.monotonic() + seconds

    def visit(number: int) -> None:
        with httpx.Client(timeout=120) as client:
            while time.monotonic() < end:
                started = time.monotonic()
                try:
                    ask(address, uploaded[number % len(uploaded)], client, f"visitor-{number}")
                except (RuntimeError, httpx.HTTPError) as error:
                    errors.append(str(error)[:200])
                took.append(time.monotonic() - started)

    threads = [threading.Thread(target=visit, args=(n,)) for n in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "answers": len(took),
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
        "p50_seconds": float(np.percentile(took, 50)),
        "p95_seconds": float(np.percentile(took, 95)),
        "longest_seconds": max(took),
        "app_megabytes": megabytes(process),
    }


def megabytes(process: psutil.Process) -> float:
    """Of the app's own process, without the one that trains."""
    return process.memory_info().rss / 1e6


if __name__ == "__main__":
    typer.run(main)
