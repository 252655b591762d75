"""What carrying out an order says, with a training that is made up."""

from collections.abc import Iterator

import pytest

from transfer import events
from transfer.errors import SourceError
from transfer.jobs.protocol import LAID_DOWN, carry_out
from transfer.jobs.worker import StdinStopSignal
from transfer.runs import checkpoint
from transfer.training import recipe

PHASE = events.PhaseStarted(phase="warm-up", epochs=1, trainable=1, parameters=2, learns=["head"])
FEATURES = events.PhaseStarted(
    phase="features", epochs=0, trainable=1, parameters=2, learns=["head"]
)
CHOSEN = events.WeightsChosen(weights="random", reason="asked for")
SAVED = events.RunSaved(run="runs/x", result={})


def said(
    monkeypatch, training, wishes: StdinStopSignal | None = None, order=(), **more
) -> Iterator[dict]:
    """What is said of a training that yields the given events, or raises them."""

    def training_events(source, *, out, should_stop, resume, **options):
        assert (source, resume, options) == ("photos", True, {"seed": 3} | more)
        for event in training:
            if isinstance(event, Exception):
                raise event
            yield event

    monkeypatch.setattr(recipe, "training_events", training_events)
    known = {"source": "photos", "out": "runs/x", "options": {"seed": 3} | more}
    yield from carry_out(known | dict(order), wishes or StdinStopSignal())


def kinds(told) -> list[str]:
    return [message["event"] for message in told]


def until_interrupted(told) -> list[dict]:
    found = []
    with pytest.raises(KeyboardInterrupt):
        for message in told:
            found.append(message)
    return found


def test_events_are_passed_on_one_by_one(monkeypatch):
    told = said(monkeypatch, [CHOSEN, PHASE, SAVED])
    assert [events.from_json(message) for message in told] == [
        CHOSEN,
        PHASE,
        SAVED,
    ]


def test_of_passing_events_only_a_few_a_second_are_passed_on(monkeypatch):
    progress = [
        events.CacheProgress(stage="reading images", done=i, total=500, seconds=0.0)
        for i in range(500)
    ]
    told = kinds(said(monkeypatch, [CHOSEN, *progress, SAVED]))
    assert len(told) < 50
    assert told[0] == "WeightsChosen" and told[-1] == "RunSaved"


def test_an_error_is_passed_on_as_its_sentence(monkeypatch):
    told = list(said(monkeypatch, [CHOSEN, SourceError("expected images, found none")]))
    assert told[1] == {"error": "expected images, found none"}


def test_want_of_memory_is_told_with_what_to_do(monkeypatch):
    (told,) = said(monkeypatch, [MemoryError()])
    assert "smaller image size" in told["error"]


def test_anything_else_is_named_and_its_trace_goes_to_the_log(monkeypatch, capsys):
    (told,) = said(monkeypatch, [ValueError("/secret/path")])
    assert "ValueError" in told["error"] and "/secret" not in told["error"]
    assert "Traceback" in capsys.readouterr().err


def test_a_stop_before_there_is_something_to_keep_ends_it(monkeypatch):
    wishes = StdinStopSignal()

    def training():
        yield CHOSEN
        yield FEATURES
        wishes.stop.set()
        yield PHASE
        yield SAVED

    told = until_interrupted(said(monkeypatch, training(), wishes))
    assert kinds(told) == ["WeightsChosen", "PhaseStarted"]


@pytest.mark.parametrize(("method", "began"), [("finetune", PHASE), ("features", FEATURES)])
def test_a_stop_while_it_learns_lets_it_finish(monkeypatch, method, began):
    wishes = StdinStopSignal()

    def training():
        yield began
        wishes.stop.set()
        yield SAVED

    told = said(monkeypatch, training(), wishes, method=method)
    assert kinds(told) == ["PhaseStarted", "RunSaved"]


def test_what_goes_on_from_a_checkpoint_has_something_to_keep_at_once(monkeypatch, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / checkpoint.FILE).touch()
    wishes = StdinStopSignal()

    def training():
        yield CHOSEN
        wishes.stop.set()
        yield SAVED

    told = said(monkeypatch, training(), wishes, {"out": str(tmp_path)})
    assert kinds(told) == ["WeightsChosen", "RunSaved"]


def test_an_interrupt_that_was_lost_is_made_up_for(monkeypatch):
    wishes = StdinStopSignal()
    wishes.gone.set()
    assert until_interrupted(said(monkeypatch, [CHOSEN, PHASE, SAVED], wishes)) == []


def test_a_beginning_ends_with_the_event_that_was_named(monkeypatch):
    told = list(said(monkeypatch, [CHOSEN, PHASE, SAVED], order={"until": "PhaseStarted"}))
    assert kinds(told[:-1]) == ["WeightsChosen", "PhaseStarted"]
    assert told[-1] == LAID_DOWN
