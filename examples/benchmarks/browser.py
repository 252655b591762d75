"""An exported page in headless Chromium: seconds to the first answer, milliseconds a photo, memory.

    python -m examples.benchmarks.browser RUN... --photos FOLDER --out browser.json

Every run is exported as a page in each precision and served from loopback, with the headers that
allow threads and without. Seconds to the first answer count from opening the page, on loopback, so
that downloading takes no time. A photo is decoded, reduced, classified and shown; the time is the
median of the others among the first eleven in FOLDER. Memory is what Chromium's largest process
holds at the end.
"""

import functools
import json
import statistics
import tempfile
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Annotated

import psutil
import typer
from playwright.sync_api import sync_playwright

from examples.benchmarks.steps import machine
from transfer.publishing.export import PRECISIONS, export
from transfer.runs.run import read_run

CHROMIUM = "/usr/bin/chromium"
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
DONE = "count => document.querySelectorAll('[data-done]').length === count"


def main(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    photos: Annotated[Path, typer.Option(help="A folder of JPEGs.")],
    out: Annotated[Path, typer.Option(help="A JSON file.")],
) -> None:
    files, rows = sorted(photos.glob("*.jpg"))[:11], []
    for run in runs:
        for precision in PRECISIONS:
            with tempfile.TemporaryDirectory() as folder:
                page = export(run, Path(folder) / "page", "page", precision=precision)
                for headers in ({}, ISOLATED):
                    row = {"image_size": read_run(run).transform.image_size}
                    row |= {"precision": precision, "threads": bool(headers)}
                    rows.append(row | measured(page, headers, files))
                    print(rows[-1], flush=True)
                    found = {"machine": machine(), "rows": rows}
                    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measured(page: Path, headers: dict[str, str], files: list[Path]) -> dict:
    class Host(SimpleHTTPRequestHandler):
        def end_headers(self):
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Host, directory=page))
    Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened, seconds = browser.new_page(), []
        started = time.monotonic()
        opened.goto(f"http://127.0.0.1:{server.server_port}/")
        opened.locator("#input").wait_for(timeout=120_000)
        for number, file in enumerate(files, 1):
            begun = time.monotonic()
            opened.set_input_files("#files", file)
            opened.wait_for_function(DONE, arg=number)
            seconds.append(time.monotonic() - begun)
            if number == 1:
                first = time.monotonic() - started
        memory = max(p.memory_info().rss for p in psutil.Process().children(recursive=True))
        browser.close()
    server.shutdown()
    return {
        "megabytes": round((page / "model.onnx").stat().st_size / 1e6, 1),
        "first_answer_seconds": round(first, 2),
        "photo_milliseconds": round(1000 * statistics.median(seconds[1:])),
        "page_megabytes": round(memory / 1e6),
    }


if __name__ == "__main__":
    typer.run(main)
