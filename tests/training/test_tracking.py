import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from tests.test_events import DONE, EPOCH
from tests.tiny import drained
from transfer import events
from transfer.errors import SettingsError
from transfer.training.tracking import FOLDER, tracked

RESULT = {"accuracy": 0.9, "balanced_accuracy": 0.8, "seconds": 5.0, "run": "x"}
DATA = events.DatasetReady(
    source="digits",
    classes=["0", "1"],
    images={"train": 8},
    skipped=[],
    settings={"seed": 3, "weights": "/home/ada/mine.safetensors"},
)
WARM_UP = {"phase": "warm-up", "loss": 0.5, "validation_loss": 0.4, "validation_accuracy": 0.7}
FITTED = {"phase": "features", "epochs": 0, "best_epoch": 0}
SEEN = [
    DATA,
    events.PhaseDone(**vars(DONE) | FITTED),
    events.EpochDone(**vars(EPOCH) | WARM_UP | {"epoch": 0, "loss": None}),
    events.EpochDone(**vars(EPOCH) | WARM_UP | {"epoch": 1}),
    events.PhaseDone(**vars(DONE) | {"epochs": 1}),
    events.EpochDone(**vars(EPOCH) | {"epoch": 0}),
    events.RunSaved(run="runs/x", result=RESULT),
]


def training():
    """As `training_events` does, without training."""
    yield from SEEN
    return "the run"


class Noting(GeneralTracker):
    name, requires_logging_directory, tracker = "json", False, None  # a package that is installed

    def __init__(self, project):
        super().__init__()

    def store_init_configuration(self, values):
        self.noted.append(values)

    def log(self, values, step=None):
        self.noted.append((step, values))

    def finish(self):
        self.noted.append("finished")


def test_settings_curves_and_results_are_logged(monkeypatch, tmp_path):
    monkeypatch.setattr(Noting, "noted", noted := [], raising=False)
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "json", Noting)
    passed, run = drained(tracked(training(), "json", tmp_path / "x"))
    assert (passed, run) == (SEEN, "the run")
    settings, *logged, end = noted
    assert settings.items() >= {"run": "x", "classes": 2, "train images": 8, "seed": "3"}.items()
    assert settings["weights"] == "mine.safetensors"
    assert [step for step, _ in logged] == [0, 1, 2, 2] and end == "finished"
    assert "warm-up/loss" not in logged[0][1] and logged[1][1]["warm-up/loss"] == 0.5
    assert logged[2][1].keys() >= {"fine-tune/validation_accuracy"}
    assert logged[3][1] == {
        "test/accuracy": 0.9,
        "test/balanced_accuracy": 0.8,
        "test/seconds": 5.0,
    }


def test_a_tracker_that_fails_later_does_not_end_the_training(monkeypatch, tmp_path, caplog):
    def fail(*_, **__):
        raise ConnectionError("gone")

    monkeypatch.setattr(Noting, "noted", noted := [], raising=False)
    monkeypatch.setattr(Noting, "log", fail)
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "json", Noting)
    passed, run = drained(tracked(training(), "json", tmp_path / "x"))
    assert (passed, run) == (SEEN, "the run") and len(noted) == 1
    assert caplog.text.count("json failed (gone); the training goes on") == 1


def test_a_training_that_is_cut_off_ends_its_log(monkeypatch, tmp_path):
    monkeypatch.setattr(Noting, "noted", noted := [], raising=False)
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "json", Noting)
    log = tracked(training(), "json", tmp_path / "x")
    next(log), next(log)
    log.close()
    assert noted[-1] == "finished"


def test_a_tracker_that_cannot_start_is_one_line(monkeypatch, tmp_path):
    class Failing(Noting):
        def __init__(self, project):
            raise OSError("no account\nin /home/me")

    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "json", Failing)
    with pytest.raises(SettingsError, match=r"^json cannot start \(no account in .*train without"):
        drained(tracked(training(), "json", tmp_path / "x"))
    with pytest.raises(SettingsError, match="track must be one of"):
        drained(tracked(training(), "paper", tmp_path / "x"))


def test_tensorboard_writes_beside_the_run(tmp_path):
    pytest.importorskip("tensorboard")
    drained(tracked(training(), "tensorboard", tmp_path / "runs" / "x"))
    assert list((tmp_path / "runs" / FOLDER).rglob("events.out.*"))
