"""An interrupted training continues as if it had never been interrupted."""

import itertools
import json
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import transfer
from tests.tiny import TINY, drained, draw_classes, tiny_body
from transfer import events
from transfer.errors import RunError
from transfer.runs import checkpoint
from transfer.runs.run import CHECKPOINT
from transfer.runs.writer import is_unfinished
from transfer.settings import PhaseSettings, TrainingSettings
from transfer.training import accelerator
from transfer.training.recipe import training_events
from transfer.training.resume import find_checkpoint

SETTINGS = TINY | {"head_epochs": 4, "finetune_epochs": 3, "precision": "fp32"}
QUICK = SETTINGS | {"head": "avg-8", "head_epochs": 3, "finetune_epochs": 2, "views": 1}
PATIENT = PhaseSettings(epochs=4, learning_rate=3.0, patience=1)


def write_every_epoch(patch) -> None:
    patch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    patch.setattr(checkpoint, "LARGEST_SHARE_OF_TIME", float("inf"))


@pytest.fixture(autouse=True)
def every_epoch_is_written(monkeypatch):
    write_every_epoch(monkeypatch)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return draw_classes(tmp_path_factory.mktemp("resume") / "photos", each=10)


@pytest.fixture(scope="module")
def uncut(source, tmp_path_factory):
    """(events, run) of an uninterrupted training."""
    out = tmp_path_factory.mktemp("uncut") / "run"
    return drained(training_events(str(source), out=out, **SETTINGS))


def cut_after(source, out, phase, epoch, end=lambda: None, **options) -> list:
    """The events until that epoch is done; the training is ended or closed there."""
    seen = []
    with closing(training_events(str(source), out=out, resume=True, **options)) as training:
        for event in training:
            seen.append(event)
            if isinstance(event, events.EpochDone) and (event.phase, event.epoch) == (phase, epoch):
                end()
                return seen
    raise AssertionError("it ended before")


def resumed(source, out, **options):
    """(events, run) of the rest of a training."""
    return drained(training_events(str(source), out=out, resume=True, **options))


def recorded(*pieces) -> list:
    history = []
    for event in itertools.chain(*pieces):
        events.record(history, event)
    return history


def untimed(seen) -> list[dict]:
    """Epochs and phases, without how long they took."""
    kinds = events.EpochDone | events.PhaseDone
    return [vars(e) | {"seconds": 0, "seconds_left": 0} for e in seen if isinstance(e, kinds)]


def assert_same(ours, theirs) -> None:
    """That two runs have the same tensors and, apart from seconds, the same report."""
    a, b = (load_file(run.path / "model.safetensors") for run in (ours, theirs))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    a, b = (
        run.report
        | {"curves": None, "heads": [row | {"seconds": 0} for row in run.report["heads"]]}
        for run in (ours, theirs)
    )
    assert a == b


@pytest.mark.parametrize(
    "cuts",
    [
        [("warm-up", 0), ("fine-tune", 0)],
        [("fine-tune", 1), ("fine-tune", 2)],
        pytest.param([("warm-up", 4), ("fine-tune", 3)], marks=pytest.mark.full),
    ],
)
def test_a_training_in_pieces_equals_the_uninterrupted_one_bit_for_bit(
    source, uncut, tmp_path, cuts
):
    out = tmp_path / "run"
    pieces = [cut_after(source, out, *cut, **SETTINGS) for cut in cuts]
    assert is_unfinished(out)
    seen, run = resumed(source, out, **SETTINGS)
    assert untimed(recorded(*pieces, seen)) == untimed(uncut[0])
    assert_same(run, uncut[1])
    assert not (out / CHECKPOINT).exists()
    result = seen[-1].result
    assert result["seconds"] >= sum(phase["seconds"] for phase in result["phases"])
    curves = {name: [e["epoch"] for e in curve] for name, curve in run.report["curves"].items()}
    assert curves == {"warm-up": [*range(5)], "fine-tune": [*range(4)]}
    restarted = [e for e in seen if isinstance(e, events.PhaseStarted)]
    assert [e.phase for e in restarted] == (["fine-tune"] if cuts[-1][0] == "warm-up" else [])


@pytest.mark.parametrize(
    ("cut", "options"),
    [
        (("warm-up", 1), {"optimizer": "sgd", "class_weights": True}),
        (("fine-tune", 1), {"optimizer": "rmsprop", "precision": "bf16"}),
        pytest.param(("warm-up", 1), {"warm_up": PATIENT}, marks=pytest.mark.full),
        pytest.param(("fine-tune", 0), {"target_accuracy": 0.1}, marks=pytest.mark.full),
        pytest.param(("warm-up", 3), {"unfreeze": "none"}, marks=pytest.mark.full),
        pytest.param(("fine-tune", 1), {"unfreeze": "block1"}, marks=pytest.mark.full),
    ],
    ids=str,
)
def test_other_settings_resume_bit_exactly_too(source, tmp_path, cut, options):
    options = QUICK | options
    uncut, other = drained(training_events(str(source), out=tmp_path / "uncut", **options))
    first = cut_after(source, tmp_path / "run", *cut, **options)
    seen, run = resumed(source, tmp_path / "run", **options)
    assert untimed(recorded(first, seen)) == untimed(uncut)
    assert_same(run, other)


KILLED = """
import os, sys
from tests.training import test_resume as test

test.write_every_epoch(test.pytest.MonkeyPatch())
test.cut_after(*sys.argv[1:], "fine-tune", 2, **test.SETTINGS, end=lambda: os.kill(os.getpid(), 9))
"""


@pytest.mark.slow
def test_a_killed_training_resumes_to_identical_losses(source, uncut, tmp_path):
    out, top = tmp_path / "run", Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, source, out]
    assert subprocess.run(command, cwd=top, timeout=300).returncode == -signal.SIGKILL
    assert is_unfinished(out)
    seen, run = resumed(source, out, **SETTINGS)
    (again,) = [event for event in seen if isinstance(event, events.Resumed)]
    assert again.phase == "fine-tune" and again.epoch >= 1
    losses = [
        [(epoch["loss"], epoch["validation_loss"]) for epoch in one.report["curves"]["fine-tune"]]
        for one in (run, uncut[1])
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert_same(run, uncut[1])


def test_a_stop_right_after_resuming_keeps_what_was_learned(source, tmp_path):
    first = cut_after(source, tmp_path / "run", "fine-tune", 1, **QUICK)
    reached = max(e.validation_accuracy for e in first if isinstance(e, events.EpochDone))
    seen, run = resumed(source, tmp_path / "run", should_stop=lambda: True, **QUICK)
    done = [event for event in seen if isinstance(event, events.PhaseDone)][-1]
    assert done.phase == "fine-tune" and done.accuracy == reached
    report = transfer.evaluate(transfer.load(run), str(source))
    assert report["accuracy"] == run.accuracy


def test_without_a_checkpoint_it_starts_over_on_the_cached_features(source, tmp_path):
    out, options = tmp_path / "run", SETTINGS | {"method": "features"}
    (out / CHECKPOINT).mkdir(parents=True)
    with closing(training_events(str(source), out=out, resume=True, **options)) as first:
        assert next(first) == events.Resumed()
        filled = next(event for event in first if isinstance(event, events.CacheFilled))
    assert filled.computed and not out.exists()
    (out / CHECKPOINT).mkdir(parents=True)
    seen, _ = resumed(source, out, **options)
    assert seen[0] == events.Resumed()
    assert [e.computed for e in seen if isinstance(e, events.CacheFilled)] == [0]


@pytest.fixture(scope="module")
def cut(source, tmp_path_factory):
    """(folder, settings) of a training interrupted in warm-up, on a body from a file; read-only."""
    folder = tmp_path_factory.mktemp("cut")
    save_file(tiny_body().tensors, folder / "own.safetensors")
    options = QUICK | {"weights": str(folder / "own.safetensors")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_CACHE", str(folder / "cache"))
        write_every_epoch(patch)
        cut_after(source, folder / "run", "warm-up", 1, **options)
    return folder / "run", options


@pytest.fixture
def unfinished(cut, tmp_path, monkeypatch):
    """A copy of its folder, with its features in the cache."""
    monkeypatch.setenv("TRANSFER_CACHE", str(cut[0].parent / "cache"))
    return shutil.copytree(cut[0], tmp_path / "unfinished")


def refusal(source, out, options) -> str:
    """The one line that refuses it; the folder stays as it was."""
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(RunError) as caught:
        resumed(source, out, **options)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    text = str(caught.value)
    assert "\n" not in text and str(out.parent) not in text
    return text


def test_other_settings_images_or_another_body_are_named(source, cut, unfinished, tmp_path):
    options = cut[1]
    changed = options | {"unfreeze": "none", "optimizer": "sgd"}
    assert "another unfreeze, warm up, fine tune;" in refusal(source, unfinished, changed)
    photos = shutil.copytree(source, tmp_path / "photos")
    assert "the source that this training started with" in refusal(photos, unfinished, options)
    save_file(tiny_body(1).tensors, tmp_path / "own.safetensors")
    other = options | {"weights": str(tmp_path / "own.safetensors")}
    assert "the body that this training started with" in refusal(source, unfinished, other)


def test_the_checkpoint_holds_no_path_and_is_readable_by_its_owner_only(source, cut):
    file = cut[0] / CHECKPOINT / checkpoint.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for path in (source, cut[0].parent):
        assert str(path).encode() not in file.read_bytes()


def edited(change):
    def damage(folder) -> None:
        record, tensors = checkpoint.read_checkpoint(folder)
        change(record, tensors)
        save_file(tensors, folder / checkpoint.FILE, {"training": json.dumps(record)})

    return damage


def not_finite(record, tensors) -> None:
    name = next(n for n, t in tensors.items() if "state/now" in n and t.is_floating_point())
    tensors[name].fill_(float("nan"))


@pytest.mark.parametrize(
    "damage",
    [
        edited(lambda record, tensors: record.update(phase="nap")),
        edited(lambda record, tensors: record["curve"]["list"].pop()),
        edited(lambda record, tensors: tensors.pop("history/logits")),
        edited(not_finite),
    ],
)
def test_a_damaged_checkpoint_counts_as_none(cut, unfinished, damage):
    asked = TrainingSettings.from_options(**cut[1])
    assert find_checkpoint(unfinished, asked).phase == "warm-up"
    damage(unfinished / CHECKPOINT)
    assert find_checkpoint(unfinished, asked) is None


def test_a_checkpoint_that_does_not_fit_is_refused(source, cut, unfinished):
    edited(lambda record, tensors: record["state"]["dict"].pop())(unfinished / CHECKPOINT)
    assert "does not fit" in refusal(source, unfinished, cut[1])


def test_the_precision_stays_even_if_auto_would_now_choose_another(source, tmp_path, monkeypatch):
    asked, options = [], QUICK | {"precision": "auto"}
    monkeypatch.setattr(accelerator, "choose_precision", lambda name: asked.append(name) or "bf16")
    cut_after(source, tmp_path / "run", "warm-up", 1, **options)
    with closing(
        training_events(str(source), out=tmp_path / "run", resume=True, **options)
    ) as rest:
        next(event for event in rest if isinstance(event, events.Resumed))
    assert asked == ["auto", "auto", "bf16"]
