import subprocess
import sys

import pytest
import torch

from tests.publishing.runs import finished
from transfer.errors import RunError
from transfer.model.weights import build_body
from transfer.publishing.bundle import bundle_files, write_bundle
from transfer.publishing.sizes import BODY_NUMBERS
from transfer.publishing.timm_export import export
from transfer.runs.run import TENSORS


@pytest.mark.parametrize("what", ["head", "full"])
@pytest.mark.parametrize(
    ("pooling", "hidden"), [("avg", ()), ("flatten", (12,)), ("avg", (600,)), ("avg", (600, 20))]
)
def test_sizes_are_estimated_within_two_percent(pooling, hidden, what, tmp_path):
    run = finished(tmp_path / "run", pooling=pooling, hidden=hidden, side=64)
    bundle = write_bundle(run, what, tmp_path / "out")
    estimated = bundle_files(run.path, what)
    factor = 2 if what == "head" and bundle.run.record["stored"] == "float32" else 1
    assert estimated.keys() == bundle.files.keys()
    assert factor * sum(estimated.values()) == pytest.approx(bundle.bytes, rel=0.02)


def test_an_exported_folder_is_measured(run, tmp_path):
    out = export(run, tmp_path / "out")
    assert bundle_files(out, "head") == {path.name: path.stat().st_size for path in out.iterdir()}


@pytest.mark.parametrize("architecture", sorted(BODY_NUMBERS))
def test_the_number_of_parameters_of_each_body(architecture):
    with torch.device("meta"):
        body = build_body(architecture)
    assert sum(p.numel() for p in body.parameters()) == BODY_NUMBERS[architecture]


def test_estimating_loads_neither_torch_nor_timm(run):
    code = (
        "import sys; from transfer.publishing.bundle import bundle_files;"
        "[bundle_files(sys.argv[1], what) for what in ('head', 'full')];"
        "print([name for name in ('torch', 'timm') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_damaged_tensors_and_images_too_large_for_timm_are_refused(copied_run, tmp_path):
    (copied_run / TENSORS).write_bytes(b"cut")
    for what in ("head", "full"):
        with pytest.raises(RunError, match=r"model.safetensors is cut, damaged or missing"):
            bundle_files(copied_run, what)
    run = finished(tmp_path / "run", side=256)
    with pytest.raises(RunError, match="at most 255 pixels, found 256"):
        bundle_files(run, "full")
    assert bundle_files(run, "head")
