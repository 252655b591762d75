import subprocess
import sys

import pytest
import torch

from tests.publishing.runs import finished
from transfer.model.weights import build_body
from transfer.publishing.bundle import bundle_files, write_bundle
from transfer.publishing.sizes import BODY_NUMBERS


@pytest.mark.parametrize(
    ("what", "pooling", "hidden"),
    [("head", "flatten", (12,)), ("full", "avg", ()), ("full", "avg", (600, 20))],
)
def test_sizes_are_estimated_within_two_percent(pooling, hidden, what, tmp_path):
    run = finished(tmp_path / "run", pooling=pooling, hidden=hidden, side=64)
    bundle = write_bundle(run, what, tmp_path / "out")
    estimated = bundle_files(run, what)
    factor = 2 if what == "head" and bundle.run.record["stored"] == "float32" else 1
    assert estimated.keys() == bundle.files.keys()
    assert factor * sum(estimated.values()) == pytest.approx(sum(bundle.files.values()), rel=0.02)


def test_the_number_of_parameters_of_each_body():
    for architecture, number in BODY_NUMBERS.items():
        with torch.device("meta"):
            body = build_body(architecture)
        assert sum(parameter.numel() for parameter in body.parameters()) == number


def test_estimating_loads_neither_torch_nor_timm(run):
    code = (
        "import sys, transfer.training.forecast;"
        "from transfer.publishing.bundle import bundle_files, read_run;"
        "[bundle_files(read_run(sys.argv[1]), what) for what in ('head', 'full')];"
        "print([name for name in ('torch', 'timm') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
