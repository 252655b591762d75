import subprocess
import sys

import pytest
import torch

from tests.publishing.test_timm_export import HEADS, finished
from transfer.errors import RunError
from transfer.model.weights import build_body
from transfer.publishing.bundle import bundle_bytes, write_bundle
from transfer.publishing.size_estimate import BODY_NUMBERS
from transfer.publishing.timm_export import export
from transfer.runs.run import TENSORS

ALLOWED = 0.02


@pytest.mark.parametrize("what", ["head", "full"])
@pytest.mark.parametrize(("pooling", "hidden"), [*HEADS, ("avg", (600,)), ("avg", (600, 20))])
def test_a_size_is_foretold_within_two_percent(pooling, hidden, what, tmp_path):
    run = finished(tmp_path / "run", pooling=pooling, hidden=hidden, side=64)
    bundle = write_bundle(run, what, tmp_path / "out")
    whole = 1 if what == "full" or bundle.run.record["stored"] == "float16" else 2
    foretold = whole * bundle_bytes(run.path, what)
    assert abs(foretold - bundle.bytes) <= ALLOWED * bundle.bytes


def test_a_small_head_with_its_records_is_foretold_as_well(stripes, tmp_path):
    from tests.tiny import TINY, drained
    from transfer.training.recipe import training_events

    options = TINY | {"method": "features"}
    _, run = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    bundle = write_bundle(run, "head", tmp_path / "out")
    assert bundle.bytes < 30_000
    assert abs(bundle_bytes(run, "head") - bundle.bytes) <= ALLOWED * bundle.bytes


def test_an_exported_folder_is_as_large_as_it_is(run, tmp_path):
    out = export(run, tmp_path / "out")
    assert bundle_bytes(out, "head") == sum(path.stat().st_size for path in out.iterdir())


@pytest.mark.parametrize("architecture", sorted(BODY_NUMBERS))
def test_a_body_has_so_many_numbers(architecture):
    with torch.device("meta"):
        body = build_body(architecture)
    assert sum(p.numel() for p in body.parameters()) == BODY_NUMBERS[architecture]


def test_foretelling_loads_neither_torch_nor_timm(run):
    code = (
        "import sys; from transfer.publishing.bundle import bundle_bytes;"
        "[bundle_bytes(sys.argv[1], what) for what in ('head', 'full')];"
        "print([name for name in ('torch', 'timm') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(run.path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("what", ["head", "full"])
def test_a_run_whose_tensors_are_cut_is_refused(what, copied_run):
    (copied_run / TENSORS).write_bytes(b"cut")
    with pytest.raises(RunError, match=r"model.safetensors is cut, damaged or missing"):
        bundle_bytes(copied_run, what)


def test_a_run_on_images_too_large_for_timm_is_refused_as_it_is_when_written(tmp_path):
    run = finished(tmp_path / "run", side=256)
    with pytest.raises(RunError) as written:
        write_bundle(run, "full", tmp_path / "out")
    with pytest.raises(RunError, match="at most 255 pixels, found 256") as foretold:
        bundle_bytes(run, "full")
    assert str(foretold.value) == str(written.value)
    assert bundle_bytes(run, "head") > 0
