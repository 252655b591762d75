import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

import transfer
from tests.tiny import CLASSES, TINY, drained, draw_classes, tiny_body, tiny_network
from transfer import events
from transfer.data.source import load_splits
from transfer.errors import RunError, SettingsError, SourceError, WeightsError
from transfer.runs.run import Run, read_network, read_run
from transfer.settings import TrainingSettings
from transfer.training.recipe import training_events

QUICK = TINY | {"head_epochs": 1, "finetune_epochs": 1, "views": 1}
CONTRACT = {
    "run": str,
    "weights": str,
    "classes": list,
    "images": dict,
    "phases": list,
    "accuracy": float,
    "accuracy_interval": list,
    "head_parameters": int,
    "original_head_parameters": int,
    "seconds": float,
    "peak_rss_bytes": int,
}
SCRIPT = f"""
import json, os, sys
import transfer
if __name__ == "__main__":
    run = transfer.train(sys.argv[1], out=sys.argv[2], **{QUICK!r})
    from accelerate import PartialState
    state = PartialState()
    told = [state.process_index, state.num_processes, run.accuracy, run.path.exists()]
    print("TOLD " + json.dumps(told), flush=True)
"""


def kinds(told) -> list[str]:
    """Names of the events; those that come again and again are told once."""
    found = [type(event).__name__ for event in told]
    return [name for i, name in enumerate(found) if i == 0 or found[i - 1] != name]


def phases(told) -> list[str]:
    return [event.phase for event in told if isinstance(event, events.PhaseDone)]


def body_tensors(run: Run) -> set[str]:
    kept = load_file(run.path / "model.safetensors")
    return {name for name in kept if name.startswith("features.")}


def test_events_come_in_order(training):
    told, run = training
    whole = [event for event in told if not isinstance(event, events.BatchDone)]
    learned = ["PhaseStarted", "EpochDone", "PhaseDone"]
    assert kinds(whole) == [
        "WeightsChosen",
        "DatasetReady",
        "Estimated",
        "CacheProgress",
        "CacheFilled",
        "PhaseStarted",
        "PhaseDone",
        "HeadTried",
        "HeadChosen",
        "Estimated",
        *learned,
        *learned,
        "RunSaved",
    ]
    assert phases(told) == ["features", "warm-up", "fine-tune"]
    assert told[-1].run == str(run.path)


def test_events_travel_as_json(training):
    for event in training[0]:
        assert events.from_json(json.loads(json.dumps(events.to_json(event)))) is not None


def test_each_phase_says_what_learns(training):
    started = {e.phase: e for e in training[0] if isinstance(e, events.PhaseStarted)}
    assert started["warm-up"].learns == ["head"]
    assert started["fine-tune"].learns == ["block5", "head"]
    block5 = 2 * (512 * 512 * 9 + 512)
    warm, fine = started["warm-up"], started["fine-tune"]
    assert fine.trainable == warm.trainable + block5
    assert fine.parameters == warm.parameters > fine.trainable


def test_what_was_chosen_is_told_and_kept(training, stripes):
    told, run = training
    ready = next(event for event in told if isinstance(event, events.DatasetReady))
    assert ready.classes == list(CLASSES)
    counts = load_splits(str(stripes), TrainingSettings()).counts()
    assert ready.images == counts and sum(counts.values()) == 36
    assert ready.settings["warm_up"]["optimizer"] == "adamw"
    settings = read_run(run.path).record["settings"]
    chosen = next(event for event in told if isinstance(event, events.HeadChosen))
    row = next(row for row in chosen.tried if row["chosen"])
    assert TrainingSettings.from_json(settings).head.name == row["head"] == chosen.head
    assert settings["head"]["dropout"] == row["dropout"]
    assert settings["warm_up"]["learning_rate"] == row["learning_rate"]
    searched = {"head": settings["head"], "warm_up": settings["warm_up"]}
    assert json.loads(json.dumps(ready.settings)) | searched == settings
    assert run.report["heads"] == chosen.tried


def test_all_stages_are_judged_on_the_same_test_images(run):
    stages = run.report["stages"]
    assert list(stages) == ["features", "warm-up", "fine-tune"]
    assert {stage["images"] for stage in stages.values()} == {
        run.record["result"]["images"]["test"]
    }
    assert stages["fine-tune"]["accuracy"] == run.accuracy


def test_the_result_has_the_keys_and_types_that_scripts_rely_on(training):
    result = training[0][-1].result
    assert {key: type(result[key]) for key in CONTRACT} == CONTRACT
    assert set(result) - set(CONTRACT) <= {"weights_reason"}
    assert list(result["images"]) == ["train", "validation", "test", "skipped"]
    assert sum(result["images"].values()) == 36 and result["images"]["skipped"] == 0
    assert result["classes"] == list(CLASSES)
    assert result["weights"] == "random"
    low, high = result["accuracy_interval"]
    assert 0 <= low <= result["accuracy"] <= high <= 1
    assert result["original_head_parameters"] == 123_642_856
    assert 0 < result["head_parameters"] < 1_000_000
    assert [phase["name"] for phase in result["phases"]] == [
        "cache",
        "features",
        "warm-up",
        "fine-tune",
    ]
    for phase in result["phases"]:
        assert type(phase["epochs"]) is int and type(phase["seconds"]) is float
        assert type(phase["accuracy"]) is float or phase["name"] == "cache"
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_result_stands_in_the_run_with_curves(run):
    record = read_run(run.path).record
    assert record["result"]["accuracy"] == run.accuracy
    curves = {phase["name"]: phase["curve"] for phase in record["phases"] if "curve" in phase}
    assert len(curves["warm-up"]) == 3 and len(curves["fine-tune"]) == 2
    assert record["seed"] == 0 and record["versions"]["timm"]


def test_fine_tune_begins_where_warm_up_ended(training):
    told = [event for event in training[0] if isinstance(event, events.EpochDone)]
    warm = {e.epoch: e for e in told if e.phase == "warm-up"}
    fine = next(e for e in told if e.phase == "fine-tune")
    kept = next(e for e in training[0] if isinstance(e, events.PhaseDone) and e.phase == "warm-up")
    assert fine.epoch == 0 and fine.loss is None
    assert fine.validation_loss == pytest.approx(warm[kept.best_epoch].validation_loss, rel=0.02)


@torch.no_grad()
def test_the_head_is_put_on_the_footing_of_the_training_images(run, stripes):
    train = load_splits(str(stripes), run.settings).splits["train"]
    pixels = np.stack([run.transform.pixels(train.read(i)) for i in range(len(train))])
    features = tiny_network().features(run.transform.normalise(torch.from_numpy(pixels)))
    found, wanted = read_network(run).head.mean, features.flatten(1).mean(0)
    assert (found - wanted).norm() < 0.01 * wanted.norm()


def test_the_same_seed_trains_the_same_network(stripes, run, tmp_path):
    again = transfer.train(str(stripes), out=tmp_path / "again", **TINY | {"precision": "fp32"})
    first, second = (read_network(read_run(r.path)).state_dict() for r in (run, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_feature_extraction_makes_a_run_like_any_other(stripes, tmp_path):
    options = QUICK | {"method": "features"}
    told, run = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    assert phases(told) == ["features"]
    assert body_tensors(run) == set()
    assert list(run.report["stages"]) == ["features"]
    assert run.settings.unfreeze == "none" and run.settings.head.hidden == ()
    assert told[-1].result["head_parameters"] == 512 * 3 + 3
    classifier = transfer.load(tmp_path / "run")
    assert len(classifier.classify(stripes / "down" / "0.png")) == 3
    report = transfer.evaluate(classifier, str(stripes))
    assert report["accuracy"] == run.accuracy
    assert report["confusion"] == run.report["confusion"]


def test_nothing_unfrozen_means_that_warm_up_is_the_end(stripes, tmp_path):
    options = QUICK | {"unfreeze": "none"}
    told, run = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    assert phases(told) == ["features", "warm-up"]
    assert body_tensors(run) == set()
    assert transfer.load(run).classify(stripes / "down" / "0.png")


def test_the_whole_body_can_be_unfrozen(stripes, tmp_path):
    options = QUICK | {"unfreeze": "block1", "finetune_lr": 1e-6}
    told, run = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    fine = [e for e in told if isinstance(e, events.PhaseStarted) and e.phase == "fine-tune"]
    assert fine[0].trainable == fine[0].parameters
    last = [e for e in told if isinstance(e, events.EpochDone)][-1]
    assert set(last.drift) == {"block1", "block2", "block3", "block4", "block5", "head"}
    assert last.best and body_tensors(run) == set(tiny_body().tensors)
    assert transfer.evaluate(transfer.load(run), str(stripes))["accuracy"] == run.accuracy


def test_a_cache_of_pixels_alone_trains_as_well(stripes, run, tmp_path, monkeypatch):
    monkeypatch.setattr("transfer.features.plan.choose_cut", lambda *_, **__: ("block1", "no room"))
    told, other = drained(training_events(str(stripes), out=tmp_path / "run", **TINY))
    block5 = {"features.16.weight", "features.16.bias", "features.18.weight", "features.18.bias"}
    assert body_tensors(other) <= block5
    assert other.report["stages"]["warm-up"] == run.report["stages"]["warm-up"]
    assert phases(told) == ["features", "warm-up", "fine-tune"]


@pytest.mark.parametrize("kind", ["CacheProgress", "CacheFilled", "EpochDone", "PhaseDone"])
def test_closing_the_generator_leaves_nothing_behind(stripes, tmp_path, kind):
    out = tmp_path / "run"
    with closing(training_events(str(stripes), out=out, **QUICK)) as told:
        for event in told:
            if type(event).__name__ == kind:
                break
        assert out.exists()
    assert not out.exists()


def test_a_download_of_the_body_is_told_first_and_can_be_broken_off(
    hub, stripes, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    hub.add("models", "timm/vgg11.tv_in1k", {"model.safetensors": save(tiny_body().tensors)})
    out = tmp_path / "run"
    with closing(training_events(str(stripes), out=out, **QUICK | {"weights": "hub"})) as told:
        first, second = next(told), next(told)
    assert isinstance(first, events.BodyProgress) and first.done_bytes == 0 < second.done_bytes
    assert not out.exists()
    with closing(training_events(str(stripes), out=out, **QUICK | {"weights": "hub"})) as told:
        assert next(told).done_bytes == second.done_bytes
        chosen = next(event for event in told if isinstance(event, events.WeightsChosen))
    assert chosen.weights == "hub" and chosen.reason == "asked for; downloaded"


def test_a_training_that_is_never_begun_makes_nothing(stripes, tmp_path):
    training_events(str(stripes), out=tmp_path / "run", **QUICK).close()
    assert not (tmp_path / "run").exists()


def test_a_stop_keeps_what_was_learned(stripes, tmp_path):
    asked = []

    def soon():
        asked.append(None)
        return True

    told, run = drained(
        training_events(str(stripes), out=tmp_path / "run", should_stop=soon, **QUICK)
    )
    assert phases(told) == ["features", "warm-up"]
    assert [e.ended for e in told if isinstance(e, events.PhaseDone)][-1] == "stopped"
    assert asked and transfer.load(run).classify(stripes / "down" / "0.png")


def test_a_folder_that_is_not_empty_is_refused_and_untouched(stripes, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError):
        transfer.train(str(stripes), out=tmp_path, **QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_class_of_which_no_image_can_be_read_is_named(tmp_path):
    folder = draw_classes(tmp_path / "images", each=5)
    for path in (folder / "down").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(SourceError) as caught:
        transfer.train(str(folder), out=tmp_path / "run", **QUICK)
    assert "'down'" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_image_that_cannot_be_read_is_told_everywhere(tmp_path):
    folder = draw_classes(tmp_path / "images", each=6)
    (folder / "down" / "2.png").write_bytes(b"")
    options = QUICK | {"method": "features"}
    told, run = drained(training_events(str(folder), out=tmp_path / "run", **options))
    skipped = [{"where": "down/2.png", "why": "the file is empty; save it anew"}]
    ready = next(event for event in told if isinstance(event, events.DatasetReady))
    filled = next(event for event in told if isinstance(event, events.CacheFilled))
    assert ready.skipped == []
    assert filled.skipped == run.report["skipped"] == skipped
    images = told[-1].result["images"]
    assert images["skipped"] == 1 and sum(images.values()) == 18


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"optimizer": "adamm"}, SettingsError, "adamm"),
        ({"unfreeze": "block9"}, SettingsError, "block9"),
        ({"colour": "red"}, SettingsError, "colour"),
        ({"weights": "no-such-file.pth"}, WeightsError, "no-such-file.pth"),
        ({"source": "nowhere-at-all"}, SourceError, "nowhere-at-all"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_told_and_leaves_nothing(stripes, tmp_path, change, kind, words):
    options = {"source": str(stripes)} | QUICK | change
    with pytest.raises(kind, match=words):
        transfer.train(out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def launched(command: list[str], source: Path, folder: Path, **environment) -> list[list]:
    """What each process told of a training that `command` started."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    root = Path(transfer.__file__).parent.parent
    known = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-m", *command, str(script), str(source), str(folder / "run")],
        env=known,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = re.findall(r"TOLD (\[.*?\])", done.stdout)  # two may share a line
    return sorted(map(json.loads, told))


LAUNCHERS = {
    "accelerate": ["accelerate.commands.launch", "--cpu", "--num_processes", "2"],
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_processes_that_train_together_make_one_run(stripes, tmp_path, launcher):
    """Without MPI accelerate starts one process on CPUs; torchrun always starts both."""
    told = launched(LAUNCHERS[launcher], stripes, tmp_path, ACCELERATE_USE_CPU="true")
    assert [index for index, *_ in told] == list(range(told[0][1]))
    if launcher == "torchrun":
        assert len(told) == 2
    run = read_run(tmp_path / "run")
    assert {accuracy for _, _, accuracy, _ in told} == {run.accuracy}
    assert all(there for *_, there in told)
    assert {path.name for path in tmp_path.iterdir()} <= {"script.py", "run", "cache"}
    assert sum(run.record["result"]["images"].values()) == 36
    assert transfer.load(run).classify(stripes / "down" / "0.png")
