"""Trainings in slices, with slots that are made up, and FlagFile, which crosses processes."""

import itertools
import json
import sys
import threading
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.jobs.fake import ended, registry
from tests.waiting import wait_for
from transfer import events
from transfer.jobs import gpu_slices
from transfer.jobs.gpu_slices import FlagFile, SlicedWorker, one_slice
from transfer.jobs.protocol import LAID_DOWN
from transfer.training import recipe

OPENER = (
    sys.executable,
    "-S",
    "-c",
    """
import json, sys
print(json.dumps({"ready": True}), flush=True)
order = json.loads(sys.stdin.readline() or "null")
if order:
    assert order["until"] == "DatasetReady"
    if order["source"] == "error":
        print(json.dumps({"error": "expected images, found none"}), flush=True)
    elif order["source"] == "dies":
        sys.exit(3)
    else:
        chosen = {"event": "WeightsChosen", "weights": "random", "reason": "asked for"}
        print(json.dumps(chosen), flush=True)
        print(json.dumps({"laid_down": True}), flush=True)
""",
)


def epoch(number: int) -> dict:
    return events.to_json(
        events.EpochDone(
            phase="warm-up",
            epoch=number,
            epochs=9,
            loss=1.0,
            validation_loss=1.0,
            validation_accuracy=0.5,
            best=True,
            seconds=0.1,
            seconds_left=0.1,
            drift={},
        )
    )


def saved(out) -> dict:
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / "run.json").write_text(json.dumps({"result": {}}))
    (Path(out) / "report.json").write_text('{"accuracy": 0.5}')
    return events.to_json(events.RunSaved(run=str(out), result={}))


class Lent(Exception):
    """As gradio's errors are, which `spaces` raises."""

    message = "You have exceeded your quota (60s requested vs. 3s left)."


def trained(tmp_path, slots, source="photos"):
    """The job, after slots that say what they are given; what is no message is raised."""
    said = iter(slots)

    def slot(order, flag):
        for message in next(said):
            if isinstance(message, Exception):
                raise message
            yield message(order["out"]) if callable(message) else message

    def hire(command):
        return SlicedWorker(command, slot=slot)

    with registry(tmp_path, command=OPENER, worker=hire) as jobs:
        return ended(jobs.start(source, {}, "ann"))


def test_slice_follows_slice_until_the_run_is_saved(tmp_path):
    job = trained(tmp_path, [[epoch(1), LAID_DOWN], [epoch(2), LAID_DOWN], [epoch(3), saved]])
    assert job.state == "done"
    told = [type(event).__name__ for event in job.history]
    assert told == ["Resumed", "EpochDone", "RunSaved"], "nothing was written down in between"


def test_what_cannot_be_opened_takes_no_slot(tmp_path):
    job = trained(tmp_path, [], "error")
    assert (job.state, job.error) == ("failed", "expected images, found none")


def test_an_opener_that_dies_is_told_of(tmp_path):
    job = trained(tmp_path, [], "dies")
    assert job.state == "failed" and "status 3" in job.error


def test_a_slot_that_is_refused_is_told_in_its_own_words_and_sooner_or_later_gone_on_from(tmp_path):
    job = trained(tmp_path, [[Lent()]])
    assert job.state == "failed"
    assert job.error == (
        "the GPU is not lent any longer: You have exceeded your quota (60s requested vs. 3s left)"
    )


def test_a_slot_that_was_cut_short_is_followed_by_another_while_it_gets_on(tmp_path):
    job = trained(tmp_path, [[epoch(1), Lent()], [epoch(2), saved]])
    assert job.state == "done"


def test_slots_that_are_too_short_for_anything_are_not_asked_for_again(tmp_path):
    started = events.to_json(
        events.PhaseStarted(phase="warm-up", epochs=1, trainable=1, parameters=2, learns=["head"])
    )
    job = trained(tmp_path, [[started, LAID_DOWN]])
    assert job.state == "failed" and "an epoch to fit into the time" in job.error


def test_slots_are_asked_for_in_the_context_of_the_visitor(tmp_path):
    visitor, seen = ContextVar("visitor"), []

    def slot(order, flag):
        seen.append(visitor.get())
        yield saved(order["out"])

    def hire(command):
        return SlicedWorker(command, slot=slot)

    visitor.set("ann")
    with registry(tmp_path, command=OPENER, worker=hire) as jobs:
        ended(jobs.start("photos", {}, "ann"))
    assert seen == ["ann"]


def test_a_stop_reaches_the_slice_and_keeps_what_it_learned(tmp_path):
    began = threading.Event()

    def slot(order, flag):
        wishes = FlagFile(Path(flag))
        wishes.begin_to_learn()
        yield events.to_json(
            events.PhaseStarted(
                phase="warm-up", epochs=1, trainable=1, parameters=2, learns=["head"]
            )
        )
        began.set()
        wait_for(wishes.should_stop)
        yield saved(order["out"])

    def hire(command):
        return SlicedWorker(command, slot=slot)

    with registry(tmp_path, command=OPENER, worker=hire) as jobs:
        job = jobs.start("photos", {}, "ann")
        assert began.wait(15)
        jobs.stop(job.id, "ann")
        assert ended(job).state == "done"


def test_closing_the_app_ends_a_slice(tmp_path):
    began, over = threading.Event(), threading.Event()

    def slot(order, flag):
        wishes = FlagFile(Path(flag))
        wishes.begin_to_learn()
        began.set()
        try:
            wait_for(wishes.should_stop)
        except KeyboardInterrupt:
            over.set()
            yield {"stopped": True}

    def hire(command):
        return SlicedWorker(command, slot=slot)

    with registry(tmp_path, command=OPENER, worker=hire) as jobs:
        job = jobs.start("photos", {}, "ann")
        assert began.wait(15)
    assert over.wait(5) and job.state == "interrupted"


def test_a_spare_worker_is_given_up_without_having_been_asked(tmp_path):
    worker = SlicedWorker(OPENER, slot=lambda order, flag: iter(()))
    assert worker.alive
    worker.kill()
    worker.wait()
    assert not worker.alive


@pytest.mark.parametrize("wish", ["stop", "gone"])
def test_a_wish_before_there_is_something_to_keep_ends_it(tmp_path, wish):
    flag = FlagFile(tmp_path / "flag")
    assert not flag.should_stop()
    flag.path.write_text(wish)
    flag.begin_to_learn()
    with pytest.raises(KeyboardInterrupt):
        flag.should_stop()


def test_a_stop_while_it_learns_keeps_and_gone_does_not(tmp_path):
    flag = FlagFile(tmp_path / "flag")
    flag.begin_to_learn()
    flag.path.write_text("stop")
    assert flag.should_stop()
    flag.path.write_text("gone")
    with pytest.raises(KeyboardInterrupt):
        flag.should_stop()


def sliced(monkeypatch, tmp_path, training, seconds: float) -> list[dict]:
    """One slice of a training, by a clock that goes on by a second an event."""
    monkeypatch.setattr(recipe, "training_events", lambda *_, **__: (e for e in training))
    monkeypatch.setattr("transfer.training.forecast.known_speed", lambda: "known")
    clock = itertools.count().__next__
    monkeypatch.setattr(gpu_slices, "time", SimpleNamespace(monotonic=clock))
    order = {"source": "x", "out": str(tmp_path / "run"), "options": {}}
    return list(one_slice(order, str(tmp_path / "flag"), seconds))


def test_a_slice_is_laid_down_between_epochs_before_the_slot_ends(monkeypatch, tmp_path):
    training = [events.from_json(epoch(number)) for number in range(20)]
    told = sliced(monkeypatch, tmp_path, training, 10)
    assert told == [*map(epoch, range(8)), LAID_DOWN]


def test_in_the_midst_of_an_epoch_only_at_the_very_end(monkeypatch, tmp_path):
    batch = events.BatchDone(phase="warm-up", epoch=1, done=1, total=99, seconds_left=1.0)
    told = sliced(monkeypatch, tmp_path, iter(lambda: batch, None), 10)
    assert told[-1] == LAID_DOWN
    assert gpu_slices.time.monotonic() == 11


def test_a_machine_that_is_not_known_yet_is_measured_where_the_gpu_is(monkeypatch, tmp_path):
    measured = []
    monkeypatch.setattr("transfer.training.forecast.known_speed", lambda: None)
    monkeypatch.setattr("transfer.training.benchmark.measure_again", lambda: measured.append(1))
    monkeypatch.setattr(recipe, "training_events", lambda *_, **__: (e for e in ()))
    order = {"source": "x", "out": str(tmp_path / "run"), "options": {}}
    assert list(one_slice(order, str(tmp_path / "flag"), 10)) == [] and measured == [1]


def test_a_stop_with_nothing_to_keep_is_told(monkeypatch, tmp_path):
    (tmp_path / "flag").write_text("stop")
    chosen = events.WeightsChosen(weights="random", reason="asked for")
    told = sliced(monkeypatch, tmp_path, [chosen], 10)
    assert told == [{"stopped": True}]
