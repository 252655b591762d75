"""A run → a web page that classifies photos in the browser, from any static host."""

import shutil
from collections.abc import Callable
from pathlib import Path

from transfer.events import CacheProgress
from transfer.inference.onnx_format import MODEL
from transfer.publishing.onnx.export import write_model, write_texts
from transfer.publishing.onnx.runtime import CDN, WEB, describe_runtime, find_runtime, integrity
from transfer.runs.run import Run

ON_CDN = "cdn"  # the files of the runtime stay there


def write_page(
    run: Run,
    folder: Path,
    precision: str,
    runtime: str | None,
    report: Callable[[CacheProgress], None] = lambda progress: None,
    name: str | None = None,
) -> None:
    """Write the ONNX model, the page and what it needs to run.

    `runtime` is None, a folder for `find_runtime`, or ON_CDN; `name` is the page's title, by
    default the run's name. Raises SettingsError, RunError, SourceError, CacheError or
    TransferError.
    """
    own = {} if runtime == ON_CDN else find_runtime(runtime, report)  # before the slow part
    facts = write_model(run, folder, precision, report)
    for path in WEB.iterdir():
        shutil.copy(path, folder / path.name)
    for file, data in own.items():
        (folder / file).write_bytes(data)
    model = (folder / MODEL).read_bytes()
    facts["model"] = {"bytes": len(model), "integrity": integrity(model)}
    facts["runtime"] = describe_runtime("" if own else CDN)
    facts["name"] = name or facts["name"]
    facts["on_cdn"] = None if own else CDN
    write_texts(run, folder, facts)
