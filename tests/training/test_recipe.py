"""The recipe from end to end on tiny real models."""

import json
from contextlib import closing

import pytest
import torch
from safetensors.torch import load_file
from threadpoolctl import threadpool_info

import transfer
from tests.tiny import CLASSES, TINY, drained, draw_classes
from transfer import events
from transfer.errors import SourceError
from transfer.features import linear_probe
from transfer.runs.run import Run, read_run
from transfer.settings import LINEAR_HEAD, TrainingSettings
from transfer.training import head_search
from transfer.training.recipe import training_events
from transfer.training.step import TrainStep

QUICK = TINY | {"head": "avg-8", "head_epochs": 1, "finetune_epochs": 1, "views": 1}
TYPES = {
    str: ("run", "weights"),
    list: ("classes", "phases", "accuracy_interval"),
    dict: ("images",),
    float: ("accuracy", "seconds"),
    int: ("head_parameters", "original_head_parameters", "peak_rss_bytes"),
}
CONTRACT = {key: kind for kind, keys in TYPES.items() for key in keys}


def kinds(seen) -> list[str]:
    """Names of the events; repeated ones once."""
    found = [type(event).__name__ for event in seen]
    return [name for i, name in enumerate(found) if i == 0 or found[i - 1] != name]


def of_kind(kind: type, seen) -> list:
    return [event for event in seen if isinstance(event, kind)]


def phases(seen) -> list[str]:
    return [event.phase for event in of_kind(events.PhaseDone, seen)]


def body_tensors(run: Run) -> set[str]:
    saved = load_file(run.path / "model.safetensors")
    return {name for name in saved if name.startswith("features.")}


def test_events_come_in_order(training):
    seen, run = training
    lasting = [event for event in seen if not isinstance(event, events.BatchDone)]
    learned = ["PhaseStarted", "EpochDone", "PhaseDone"]
    first = "WeightsChosen DatasetReady Estimated CacheProgress CacheFilled PhaseStarted PhaseDone"
    search, last = "HeadTried HeadChosen Estimated", ("CrossValidated", "RunSaved")
    assert kinds(lasting) == [
        *first.split(),
        *search.split(),
        *learned,
        "BlocksProbed",
        *learned,
        *last,
    ]
    assert phases(seen) == ["features", "warm-up", "fine-tune"]
    assert seen[-1].run == str(run.path)


def test_the_result_has_the_keys_and_types_that_scripts_rely_on(training):
    result = training[0][-1].result
    assert {key: type(result[key]) for key in CONTRACT} == CONTRACT
    assert set(result) - set(CONTRACT) <= {"weights_reason", "balanced_accuracy", "uneven"}
    assert list(result["images"]) == ["train", "validation", "test", "skipped"]
    assert sum(result["images"].values()) == 36 and result["images"]["skipped"] == 0
    assert result["classes"] == list(CLASSES) and result["weights"] == "random"
    low, high = result["accuracy_interval"]
    assert 0 <= low <= result["accuracy"] <= high <= 1
    assert result["original_head_parameters"] == 123_642_856
    assert 0 < result["head_parameters"] < 1_000_000
    assert 20e6 < result["peak_rss_bytes"] < 1e12
    names = [phase["name"] for phase in result["phases"]]
    assert names == ["cache", "features", "warm-up", "fine-tune"]
    for phase in result["phases"]:
        assert type(phase["epochs"]) is int and type(phase["seconds"]) is float
        assert type(phase["accuracy"]) is float or phase["name"] == "cache"
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_run_holds_result_curves_and_every_phase_judged_on_the_test_images(run):
    record, stages = read_run(run.path).record, run.report["stages"]
    assert record["result"]["accuracy"] == run.accuracy == stages["fine-tune"]["accuracy"]
    assert [len(phase.get("curve", [])) for phase in record["phases"]] == [0, 0, 3, 2]
    assert record["seed"] == 0 and record["versions"]["timm"]
    images = {stage["images"] for stage in stages.values()}
    assert images == {record["result"]["images"]["test"]}
    for phase in record["result"]["phases"][1:]:
        stage = stages[phase["name"]]
        assert phase["accuracy"] == stage["validation_accuracy"], "of phases on validation"
        assert phase["test_accuracy"] == stage["accuracy"] and phase["ended"]
    for phase in record["phases"][2:]:
        marked = [epoch["epoch"] for epoch in phase["curve"] if epoch["best"]]
        assert marked == ([] if "takes its place" in phase["ended"] else [phase["best_epoch"]])


def test_feature_extraction_makes_a_run_like_any_other(stripes, tmp_path):
    settings = TrainingSettings.from_options(**QUICK | {"method": "features"})
    seen, run = drained(training_events(str(stripes), out=tmp_path / "run", settings=settings))
    assert phases(seen) == ["features"] == list(run.report["stages"])
    assert body_tensors(run) == set()
    assert run.settings.unfreeze == "none" and run.settings.head.hidden == ()
    assert seen[-1].result["head_parameters"] == 512 * 3 + 3
    classifier = transfer.load(tmp_path / "run")
    assert len(classifier.classify(stripes / "down" / "0.png")) == 3
    report = transfer.evaluate(classifier, str(stripes))
    assert report["accuracy"] == run.accuracy
    assert report["confusion"] == run.report["confusion"]


@pytest.mark.parametrize("kind", ["CacheProgress", "EpochDone"])
def test_closing_the_generator_leaves_nothing_behind(stripes, tmp_path, kind):
    out = tmp_path / "run"
    with closing(training_events(str(stripes), out=out, **QUICK)) as training:
        next(event for event in training if type(event).__name__ == kind)
        assert out.exists()
    assert not out.exists()


def test_a_stop_keeps_what_was_learned_and_does_not_fine_tune(stripes, tmp_path):
    out = tmp_path / "run"
    seen, run = drained(training_events(str(stripes), out=out, should_stop=lambda: True, **QUICK))
    assert phases(seen) == ["features", "warm-up"] and body_tensors(run) == set()
    assert of_kind(events.PhaseDone, seen)[-1].ended.startswith("stopped")
    assert transfer.load(run).classify(stripes / "down" / "0.png")


def test_a_warm_up_that_diverged_gives_way_to_the_fit_and_is_not_fine_tuned(
    stripes, tmp_path, monkeypatch
):
    monkeypatch.setattr(TrainStep, "__call__", lambda *_: float("nan"))
    seen, run = drained(training_events(str(stripes), out=tmp_path / "run", **QUICK))
    assert phases(seen) == ["features", "warm-up"]
    features, warm_up = of_kind(events.PhaseDone, seen)
    assert warm_up.ended.startswith("the loss was no longer finite")
    assert warm_up.accuracy == features.accuracy and run.settings.head == LINEAR_HEAD


def test_an_unreadable_image_is_reported_in_events_report_and_result(tmp_path):
    folder = draw_classes(tmp_path / "images", each=6)
    (folder / "down" / "2.png").write_bytes(b"")
    options = QUICK | {"method": "features"}
    seen, run = drained(training_events(str(folder), out=tmp_path / "run", **options))
    (ready,), (filled,) = of_kind(events.DatasetReady, seen), of_kind(events.CacheFilled, seen)
    assert ready.skipped == [] and filled.skipped == run.report["skipped"]
    assert [problem["where"] for problem in filled.skipped] == ["down/2.png"]
    images = seen[-1].result["images"]
    assert images["skipped"] == 1 and sum(images.values()) == 18
    for path in (folder / "down").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(SourceError, match="'down'"):
        transfer.train(str(folder), out=tmp_path / "other", **QUICK)
    assert not (tmp_path / "other").exists()


def test_heads_and_fits_take_one_thread_and_fine_tune_takes_all(stripes, tmp_path, monkeypatch):
    """Beside other work threads that wait for each other in small products take minutes."""
    seen = {"fit": set(), "trials": set(), "steps": []}

    def noting(owner, name, note):
        known = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args: (note(), known(*args))[1])

    noting(
        linear_probe,
        "_judge",
        lambda: seen["fit"].update(pool["num_threads"] for pool in threadpool_info()),
    )
    noting(head_search, "_train", lambda: seen["trials"].add(torch.get_num_threads()))
    noting(
        TrainStep, "_accumulate_gradients", lambda: seen["steps"].append(torch.get_num_threads())
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        transfer.train(str(stripes), out=tmp_path / "run", **TINY)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen["fit"] == seen["trials"] == {1}
    steps = seen["steps"]  # with those of the estimate, which are measured as they will run
    assert set(steps) == {1, 2} and steps[-1] == 2
