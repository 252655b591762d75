"""A training that was cut off, in whatever way, goes on as if it had not been."""

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import transfer
import transfer.inference.classifier
from tests.tiny import TINY, drained, draw_classes, picture, tiny_body
from transfer import events
from transfer.errors import RunError
from transfer.runs import checkpoint
from transfer.runs.run import CHECKPOINT
from transfer.runs.writer import is_unfinished
from transfer.settings import PhaseSettings, TrainingSettings
from transfer.training import loop as training
from transfer.training.recipe import training_events
from transfer.training.resume import find_earlier

SETTINGS = TINY | {"head_epochs": 4, "finetune_epochs": 3, "precision": "fp32"}


def write_every_epoch(patch) -> None:
    patch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    patch.setattr(checkpoint, "LARGEST_SHARE_OF_TIME", float("inf"))


@pytest.fixture(autouse=True)
def every_epoch_is_written(monkeypatch):
    write_every_epoch(monkeypatch)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return draw_classes(tmp_path_factory.mktemp("resuming") / "photos", each=10)


@pytest.fixture(scope="module")
def uncut(source, tmp_path_factory):
    """(events, run) of the training in one piece."""
    out = tmp_path_factory.mktemp("uncut") / "run"
    return drained(training_events(str(source), out=out, **SETTINGS))


def cut_after(source, out, phase, epoch, **options) -> list:
    """What is told until that epoch is done, and no more."""
    told = []
    with closing(training_events(str(source), out=out, resume=True, **SETTINGS | options)) as whole:
        for event in whole:
            told.append(event)
            if isinstance(event, events.EpochDone) and (event.phase, event.epoch) == (phase, epoch):
                return told
    raise AssertionError("it ended before")


def resumed(source, out, **options):
    return training_events(str(source), out=out, resume=True, **SETTINGS | options)


def go_on(source, out, **options):
    """(events, run) of what is left of a training."""
    return drained(resumed(source, out, **options))


def numbers(told) -> list:
    """All that an epoch says but for how long it took."""
    epochs = [event for event in told if isinstance(event, events.EpochDone)]
    return [replace(epoch, seconds=0.0, seconds_left=0.0) for epoch in epochs]


def phases(told) -> list:
    done = [event for event in told if isinstance(event, events.PhaseDone)]
    return [replace(event, seconds=0.0) for event in done]


def same_tensors(*runs) -> bool:
    ours, theirs = (load_file(run.path / "model.safetensors") for run in runs)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def judged(run) -> dict:
    """What the report says but for how long heads and epochs took."""
    heads = [row | {"seconds": 0.0} for row in run.report["heads"]]
    return run.report | {"curves": None, "heads": heads}


@pytest.mark.parametrize(
    "cuts",
    [
        [("warm-up", 2)],
        [("warm-up", 0), ("fine-tune", 0)],
        [("fine-tune", 1), ("fine-tune", 2)],
        [("warm-up", 4), ("fine-tune", 3)],
    ],
)
def test_a_training_in_pieces_is_the_one_in_one_piece_to_the_bit(source, uncut, tmp_path, cuts):
    out, history = tmp_path / "run", []
    for phase, epoch in cuts:
        for event in cut_after(source, out, phase, epoch):
            events.record(history, event)
        assert is_unfinished(out)
    told, run = drained(training_events(str(source), out=out, resume=True, **SETTINGS))
    for event in told:
        events.record(history, event)
    whole, whole_run = uncut
    assert numbers(history) == numbers(whole)
    assert phases(history) == phases(whole)
    assert same_tensors(run, whole_run)
    assert judged(run) == judged(whole_run)
    assert not (out / CHECKPOINT).exists()


QUICK = {"head": "avg-8", "head_epochs": 3, "finetune_epochs": 2, "views": 1}
PATIENT = PhaseSettings(epochs=4, learning_rate=3.0, patience=1)


@pytest.mark.parametrize(
    ("cut", "options"),
    [
        (("warm-up", 1), {"optimizer": "sgd", "class_weights": True}),
        (("fine-tune", 1), {"optimizer": "rmsprop", "precision": "bf16"}),
        (("warm-up", 2), {"optimizer": "lamb"}),
        (("fine-tune", 0), {"target_accuracy": 0.1}),
        (("warm-up", 1), {"warm_up": PATIENT}),
        (("warm-up", 3), {"unfreeze": "none"}),
        (("fine-tune", 1), {"unfreeze": "block1"}),
    ],
    ids=str,
)
def test_whatever_the_settings_it_goes_on_to_the_bit(source, tmp_path, cut, options):
    wanted = QUICK | options
    whole, whole_run = drained(
        training_events(str(source), out=tmp_path / "whole", **SETTINGS | wanted)
    )
    history = []
    for event in cut_after(source, tmp_path / "run", *cut, **wanted):
        events.record(history, event)
    told, run = go_on(source, tmp_path / "run", **wanted)
    for event in told:
        events.record(history, event)
    assert numbers(history) == numbers(whole)
    assert phases(history) == phases(whole)
    assert same_tensors(run, whole_run)
    assert judged(run) == judged(whole_run)


@pytest.mark.parametrize("cut", [("warm-up", 2), ("fine-tune", 1)])
def test_a_stop_while_it_is_taken_up_again_keeps_what_was_learned(source, tmp_path, cut):
    told = cut_after(source, tmp_path / "run", *cut, **QUICK)
    reached = max(e.validation_accuracy for e in told if isinstance(e, events.EpochDone))
    told, run = go_on(source, tmp_path / "run", should_stop=lambda: True, **QUICK)
    done = [event for event in told if isinstance(event, events.PhaseDone)][-1]
    assert done.phase == cut[0] and done.accuracy == reached
    judged_again = transfer.inference.evaluate.evaluate(transfer.load(run), str(source))
    assert judged_again["accuracy"] == run.accuracy


def test_curves_are_whole_phases_come_once_and_seconds_are_those_of_all_pieces(source, tmp_path):
    out = tmp_path / "run"
    first = cut_after(source, out, "fine-tune", 1, **QUICK)
    spent = sum(e.seconds for e in first if isinstance(e, events.PhaseDone))
    told, run = go_on(source, out, **QUICK)
    result = told[-1].result
    names = [phase["name"] for phase in result["phases"]]
    assert names == ["cache", "features", "warm-up", "fine-tune"]
    curves = {name: [e["epoch"] for e in curve] for name, curve in run.report["curves"].items()}
    assert curves == {"warm-up": [0, 1, 2, 3], "fine-tune": [0, 1, 2]}
    assert result["seconds"] >= sum(phase["seconds"] for phase in result["phases"]) > spent
    restarted = [e.phase for e in told if isinstance(e, events.PhaseStarted)]
    assert restarted == []
    assert told[[type(e) for e in told].index(events.Resumed)] == events.Resumed(
        phase="fine-tune", epoch=1
    )


def test_a_process_that_was_killed_goes_on(source, tmp_path, monkeypatch):
    out = tmp_path / "run"
    options = QUICK | {"head_epochs": 2000, "finetune_epochs": 1}
    script = (
        "import sys, transfer\nfrom transfer.runs import checkpoint\n"
        "checkpoint.SECONDS_BETWEEN = 0\n"
        f"transfer.train(sys.argv[1], out=sys.argv[2], resume=True, **{SETTINGS | options!r})"
    )
    killed = subprocess.Popen([sys.executable, "-c", script, str(source), str(out)])
    deadline = time.monotonic() + 300
    while not (out / CHECKPOINT / checkpoint.FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    killed.kill()
    assert killed.wait() == -9
    assert is_unfinished(out)
    (out / CHECKPOINT / checkpoint.PART).write_bytes(b"half of it")
    with closing(resumed(source, out, **options)) as again:
        came = next(event for event in again if isinstance(event, events.Resumed))
        after = next(event for event in again if isinstance(event, events.EpochDone))
    assert came.phase == "warm-up"
    assert after.epoch == came.epoch + 1


def test_what_was_killed_while_the_cache_filled_begins_anew_on_what_is_kept(source, tmp_path):
    out = tmp_path / "run"
    (out / CHECKPOINT).mkdir(parents=True)
    with closing(resumed(source, out, method="features")) as first:
        assert next(first) == events.Resumed()
        filled = next(event for event in first if isinstance(event, events.CacheFilled))
    assert filled.computed and not out.exists()
    (out / CHECKPOINT).mkdir(parents=True)
    told, run = drained(resumed(source, out, method="features"))
    assert told[0] == events.Resumed()
    assert [e.computed for e in told if isinstance(e, events.CacheFilled)] == [0]
    assert run.report["stages"].keys() == {"features"}


def test_a_photo_that_cannot_be_read_does_not_stand_in_the_way(source, tmp_path):
    photos = shutil.copytree(source, tmp_path / "photos")
    (photos / "down" / "broken.png").write_bytes((photos / "down" / "1.png").read_bytes()[:60])
    cut_after(photos, tmp_path / "run", "warm-up", 1, **QUICK)
    told, _ = go_on(photos, tmp_path / "run", **QUICK)
    assert told[-1].result["images"]["skipped"] == 1


@pytest.fixture(scope="module")
def cut(source, tmp_path_factory):
    """A folder with a training cut off in warm-up; not to be changed."""
    out = tmp_path_factory.mktemp("cut") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFER_CACHE", str(out.parent / "cache"))
        write_every_epoch(patch)
        cut_after(source, out, "warm-up", 1, **QUICK)
    return out


@pytest.fixture
def unfinished(cut, tmp_path, monkeypatch):
    """A copy of it, whose features are in the cache."""
    monkeypatch.setenv("TRANSFER_CACHE", str(cut.parent / "cache"))
    return shutil.copytree(cut, tmp_path / "unfinished")


def refusal(source, out, **options) -> str:
    """The one line with which it is refused; the folder is as it was."""
    before = contents(out)
    with pytest.raises(RunError) as caught:
        go_on(source, out, **QUICK | options)
    assert contents(out) == before
    text = str(caught.value)
    assert "\n" not in text and str(out.parent) not in text
    return text


def contents(folder) -> dict:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed": 3}, "another seed;"),
        ({"head_epochs": 9}, "another warm up;"),
        ({"optimizer": "sgd"}, "another warm up, fine tune;"),
        ({"unfreeze": "none", "class_weights": True}, "another unfreeze, class weights;"),
        ({"head": "avg-16"}, "another head;"),
        ({"image_size": 48}, "another image size;"),
    ],
    ids=str,
)
def test_other_settings_are_named(source, unfinished, options, named):
    assert named in refusal(source, unfinished, **options)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda photos: picture(1, 50).save(photos / "down" / "50.png"), "number of images"),
        (lambda photos: (photos / "down").rename(photos / "below"), "list of classes"),
        (lambda photos: os.utime(photos / "down" / "1.png", (1, 1)), "set of images"),
    ],
)
def test_other_images_are_refused(source, tmp_path, change, named):
    photos = shutil.copytree(source, tmp_path / "photos")
    cut_after(photos, tmp_path / "run", "warm-up", 0, **QUICK)
    change(photos)
    assert f"expected the {named} with which" in refusal(photos, tmp_path / "run")


def test_another_source_or_body_is_refused(source, unfinished, tmp_path):
    photos = shutil.copytree(source, tmp_path / "photos")
    assert "expected the source with which" in refusal(photos, unfinished)
    save_file(tiny_body(1).tensors, tmp_path / "own.safetensors")
    text = refusal(source, unfinished, weights=str(tmp_path / "own.safetensors"))
    assert "expected the body with which" in text


def test_the_checkpoint_holds_no_path(source, tmp_path):
    save_file(tiny_body().tensors, tmp_path / "own.safetensors")
    own = QUICK | {"weights": str(tmp_path / "own.safetensors")}
    cut_after(source, tmp_path / "run", "warm-up", 0, **own)
    file = tmp_path / "run" / CHECKPOINT / checkpoint.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for path in (source, tmp_path):
        assert str(path).encode() not in file.read_bytes()
    go_on(source, tmp_path / "run", **own)


def edited(change):
    def spoil(folder) -> None:
        record, tensors = checkpoint.read_checkpoint(folder)
        change(record, tensors)
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(tensors, folder / checkpoint.FILE, {"training": json.dumps(record)})

    return spoil


def fill(number: float, part: str):
    def change(record, tensors) -> None:
        name = next(name for name, t in tensors.items() if part in name and t.is_floating_point())
        tensors[name].fill_(number)

    return edited(change)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / checkpoint.FILE).write_bytes(b""),
        lambda folder: (folder / checkpoint.FILE).write_text("notes"),
        lambda folder: save_file({"a": torch.zeros(2)}, folder / checkpoint.FILE),
        edited(lambda record, tensors: record.update(format_version=99)),
        edited(lambda record, tensors: record.pop("phase")),
        edited(lambda record, tensors: record.update(phase="nap")),
        edited(lambda record, tensors: record.update(cut="block9")),
        edited(lambda record, tensors: record.update(curve=[])),
        edited(lambda record, tensors: record["curve"].pop()),
        edited(lambda record, tensors: record.update(curve=[1, 2])),
        edited(lambda record, tensors: record.update(settings=[])),
        edited(lambda record, tensors: record.update(state=None)),
        edited(lambda record, tensors: record.update(record={})),
        edited(lambda record, tensors: record.update(asked={"seed": -1})),
        edited(lambda record, tensors: record.update(learned_from=[])),
        edited(lambda record, tensors: record.update(precision="fp7")),
        edited(lambda record, tensors: tensors.pop("scores")),
        fill(float("nan"), "state/now"),
        fill(float("inf"), "state/state"),
    ],
)
def test_what_is_no_checkpoint_counts_as_none(unfinished, spoil):
    asked = TrainingSettings.from_options(**SETTINGS | QUICK)
    assert find_earlier(unfinished, asked).resumed == events.Resumed(phase="warm-up", epoch=1)
    spoil(unfinished / CHECKPOINT)
    assert find_earlier(unfinished, asked) is None


def test_where_there_is_none_it_begins_anew_and_says_so(source, unfinished):
    (unfinished / CHECKPOINT / checkpoint.FILE).write_text("notes")
    told, run = go_on(source, unfinished, **QUICK)
    assert told[0] == events.Resumed()
    assert [len(curve) for curve in run.report["curves"].values()] == [4, 3]


@pytest.mark.parametrize(
    "spoil",
    [
        edited(lambda record, tensors: record["state"].pop("optimizer")),
        edited(
            lambda record, tensors: tensors.update(
                {name: torch.zeros(3) for name in tensors if name.startswith("state/first")}
            )
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_a_line(source, unfinished, spoil):
    spoil(unfinished / CHECKPOINT)
    assert "does not fit" in refusal(source, unfinished)


def test_without_resume_an_unfinished_folder_is_refused_with_a_hint(source, unfinished):
    before = contents(unfinished)
    with pytest.raises(RunError, match="an unfinished training in it; go on from it with --resume"):
        drained(training_events(str(source), out=unfinished, **SETTINGS | QUICK))
    assert contents(unfinished) == before


@pytest.mark.parametrize("resume", [True, False])
def test_a_finished_run_is_refused_either_way(source, copied_run, resume):
    before = contents(copied_run)
    with pytest.raises(RunError, match="expected a new or empty folder"):
        drained(training_events(str(source), out=copied_run, resume=resume, **SETTINGS))
    assert contents(copied_run) == before


def test_without_resume_nothing_is_kept_nor_left(source, tmp_path):
    options = SETTINGS | QUICK
    with closing(training_events(str(source), out=tmp_path / "run", **options)) as whole:
        for event in whole:
            if isinstance(event, events.EpochDone) and event.epoch == 2:
                break
        assert not (tmp_path / "run" / CHECKPOINT / checkpoint.FILE).exists()
    assert not (tmp_path / "run").exists()


def test_the_precision_of_the_beginning_is_kept_where_auto_would_choose_another(
    source, tmp_path, monkeypatch
):
    auto = QUICK | {"precision": "auto"}
    real = training.choose_precision

    def choose(wanted: str) -> str:
        return "bf16" if wanted == "auto" else real(wanted)

    monkeypatch.setattr(training, "choose_precision", choose)
    whole, _ = drained(training_events(str(source), out=tmp_path / "whole", **SETTINGS | auto))
    history = cut_after(source, tmp_path / "run", "warm-up", 1, **auto)
    monkeypatch.setattr(
        training, "choose_precision", lambda wanted: "no" if wanted == "auto" else real(wanted)
    )
    told, _ = go_on(source, tmp_path / "run", **auto)
    assert numbers(history + told) == numbers(whole)


def test_two_trainings_do_not_go_on_in_one_folder(source, unfinished):
    with closing(resumed(source, unfinished, **QUICK)) as first:
        next(event for event in first if isinstance(event, events.EpochDone))
        with pytest.raises(RunError, match="found one under way"):
            go_on(source, unfinished, **QUICK)
        next(event for event in first if isinstance(event, events.EpochDone))
    go_on(source, unfinished, **QUICK)


def test_a_full_disk_does_not_harm_the_training_and_is_told_once(
    source, tmp_path, monkeypatch, caplog
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_checkpoint", full)
    told, _ = go_on(source, tmp_path / "run", **QUICK)
    assert isinstance(told[-1], events.RunSaved)
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert [w for w in warned if "checkpoint" in w] == [
        "no checkpoint was written (No space left on device)"
    ]


def test_train_takes_resume_too(source, unfinished):
    run = transfer.train(str(source), out=unfinished, resume=True, **SETTINGS | QUICK)
    assert len(run.report["curves"]["warm-up"]) == 4
