import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.ui.visitors import ME
from tests.waiting import SECONDS
from transfer.errors import RunError
from transfer.ui.shared import hub_models
from transfer.ui.shared.hub_models import HubModels
from transfer.ui.shared.loaded_runs import LoadedRuns

SECONDS_TO_OPEN = 0.2


@pytest.fixture
def opened(monkeypatch):
    """The names that were opened, each with its token; those with "gone" in them are refused."""
    opened = []

    def open_classifier(name: str, token):
        opened.append((name, token))
        time.sleep(SECONDS_TO_OPEN)
        if "gone" in name:
            raise RunError(f"expected a model, found no {name}")
        return object()

    monkeypatch.setattr("transfer.inference.loading.open_classifier", open_classifier)
    return opened


def test_all_who_ask_for_a_model_at_once_get_the_one_that_is_opened(opened):
    models = HubModels(False)
    with ThreadPoolExecutor(8) as people:
        found = set(people.map(models.classifier, ["ann/a"] * 8))
    assert len(found) == 1 and opened == [("hub:ann/a", False)]


def test_one_is_opened_after_the_other(opened):
    models, began = HubModels(None), time.monotonic()
    with ThreadPoolExecutor(2) as people:
        assert len(set(people.map(models.classifier, ["ann/a", "ann/b"]))) == 2
    assert time.monotonic() - began >= 2 * SECONDS_TO_OPEN


def test_what_is_open_waits_for_no_other(monkeypatch):
    models, began, go_on = HubModels(None), threading.Event(), threading.Event()

    def open_classifier(name: str, token):
        if name == "hub:ann/slow":
            began.set()
            assert go_on.wait(SECONDS)
        return object()

    monkeypatch.setattr("transfer.inference.loading.open_classifier", open_classifier)
    first = models.classifier("ann/a")
    with ThreadPoolExecutor(1) as aside:
        waiting = aside.submit(models.classifier, "ann/slow")
        assert began.wait(SECONDS)
        assert models.classifier("ann/a") is first and not waiting.done()
        go_on.set()


def test_a_model_is_open_until_others_have_come_or_the_hub_may_have_another(opened, monkeypatch):
    models = HubModels(None)
    for name in ("ann/a", "ann/b", "ann/b", "ann/a", "ann/c", "ann/b"):
        models.classifier(name)
    assert [name for name, _ in opened] == ["hub:ann/a", "hub:ann/b", "hub:ann/c"]
    models.classifier("ann/a")
    assert len(opened) == 4
    monkeypatch.setattr(hub_models, "SECONDS_A_MODEL_IS_KEPT", 0.0)
    models.classifier("ann/a")
    assert len(opened) == 5


def test_what_was_just_refused_is_not_asked_again_until_later(opened, monkeypatch):
    models = HubModels(None)
    told = set()
    for _ in range(3):
        with pytest.raises(RunError) as caught:
            models.classifier("ann/gone")
        told.add(str(caught.value))
    assert len(told) == 1 and len(opened) == 1
    monkeypatch.setattr(hub_models, "SECONDS_A_REFUSAL_HOLDS", 0.0)
    with pytest.raises(RunError):
        models.classifier("ann/gone")
    assert len(opened) == 2


def test_runs_of_this_machine_wait_for_no_model_of_the_hub(jobs, monkeypatch):
    runs, go_on = LoadedRuns(jobs, shared=False), threading.Event()
    began = threading.Event()

    def open_slowly(name: str):
        began.set()
        go_on.wait(SECONDS)

    monkeypatch.setattr(runs._of_the_hub, "_opened", open_slowly)
    with ThreadPoolExecutor(1) as aside:
        waiting = aside.submit(runs.classifier, ME, "ann/large")
        assert began.wait(SECONDS)
        assert runs.classifier(ME, "tiny").classes and not waiting.done()
        go_on.set()
