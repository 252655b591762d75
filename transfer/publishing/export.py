"""A finished run → a folder that works without this package."""

from collections.abc import Callable
from pathlib import Path

from transfer.errors import SettingsError
from transfer.events import CacheProgress
from transfer.publishing.new_folder import new_folder
from transfer.runs.run import Run, read_run, run_path

FORMATS = ("timm", "onnx", "page")
PRECISIONS = ("fp32", "fp16", "int8")
DEFAULT_PRECISION = {"page": "fp16"}  # half of the download; it computes in float32 all the same


def export(
    run: str | Path | Run,
    out: str | Path,
    format: str = "timm",
    *,
    precision: str | None = None,
    runtime: str | None = None,
    report: Callable[[CacheProgress], None] = lambda progress: None,
) -> Path:
    """Write a finished run to the new or empty folder `out`.

    `timm`: model.safetensors and config.json, for `timm.create_model("local-dir:OUT",
    pretrained=True)` and `transformers.pipeline("image-classification", model="OUT")`. timm decodes
    every JPEG in full; this package decodes one of at least four times the run's size at a fraction
    of it, so scores may differ slightly there.
    `onnx`: model.onnx, which takes photos of any size, model.json and README.md, in `precision`
    fp32 (the default), fp16 or int8, which needs the run's photos.
    `page`: the same, fp16 by default, and a web page that runs it in the browser. `runtime` is a
    folder with the npm package onnxruntime-web, or `cdn`; None means the npm registry, once.
    The written model is compared with the run before it is put in place. Raises SettingsError,
    RunError, WeightsError or SourceError.
    """
    if format not in FORMATS:
        raise SettingsError(f"format must be one of {', '.join(FORMATS)}, found {format!r}")
    if precision is not None and format == "timm":
        raise SettingsError("expected a precision with onnx or page only; leave it out for timm")
    if runtime is not None and format != "page":
        raise SettingsError(f"expected a runtime with page only; leave it out for {format}")
    precision = precision or DEFAULT_PRECISION.get(format, "fp32")
    if precision not in PRECISIONS:
        raise SettingsError(
            f"precision must be one of {', '.join(PRECISIONS)}, found {precision!r}"
        )
    run, out = run if isinstance(run, Run) else read_run(run), run_path(out)
    with new_folder(out) as folder:
        if format == "timm":
            from transfer.publishing.timm_export import write_timm

            write_timm(run, folder)
        elif format == "onnx":
            from transfer.publishing.onnx.export import write_onnx

            write_onnx(run, folder, precision, report)
        else:
            from transfer.publishing.onnx.page import write_page

            write_page(run, folder, precision, runtime, report)
    return out
