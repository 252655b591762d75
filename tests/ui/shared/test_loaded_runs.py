import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hub_server import FRIEND
from tests.tiny import CLASSES, picture
from tests.tiny_timm import files_of
from tests.ui.visitors import ME, OTHER
from tests.waiting import SECONDS
from transfer import load
from transfer.errors import JobError, RunError, TransferError
from transfer.runs.run import RECORD, read_run
from transfer.ui.shared.loaded_runs import (
    EXAMPLE,
    EXAMPLE_FOLDER,
    HubModels,
    LoadedRuns,
    cached_classifier,
    cached_run,
)


@pytest.fixture
def local(jobs) -> LoadedRuns:
    return LoadedRuns(jobs, shared=False)


@pytest.fixture
def shared(empty) -> LoadedRuns:
    """On a shared server where nobody has runs."""
    return LoadedRuns(empty, shared=True)


@pytest.fixture
def opened(monkeypatch):
    """The Hub names that were opened; one with "gone" in it fails, one with "slow" waits."""
    opened, let_go = [], threading.Event()

    def open_classifier(name: str, token):
        opened.append(name)
        if "slow" in name:
            assert let_go.wait(SECONDS)
        if "gone" in name:
            raise RunError(f"expected a model, found no {name}")
        return object()

    opened_models = HubModels(False)
    monkeypatch.setattr("transfer.inference.loading.open_classifier", open_classifier)
    yield opened, opened_models, let_go
    let_go.set()


def test_own_runs_come_first_and_the_example_is_always_there(local, shared):
    (title, name), (_, example) = local.choices(ME)
    assert "test accuracy" in title and (name, example) == ("tiny", EXAMPLE)
    assert [name for _, name in shared.choices(OTHER)] == [EXAMPLE]
    for use in (shared.own_path, shared.classifier, shared.comparison):
        with pytest.raises(JobError, match="no such finished run"):
            use(OTHER, "tiny")


def test_the_example_is_small_names_no_machine_and_works(local):
    run = read_run(EXAMPLE_FOLDER)
    assert run.record["result"]["run"] == "transfer/example" and run.accuracy > 0.97
    assert sum(path.stat().st_size for path in EXAMPLE_FOLDER.iterdir()) < 1_000_000
    (found,) = local.classifier(ME, EXAMPLE).classify(picture(0, 0), top=1)
    assert found.label in "0123456789"
    assert list(local.comparison(ME, EXAMPLE).classifiers) == ["features", "warm-up"]


@pytest.mark.parametrize("name", ["", "..", "../tiny", "tiny/../tiny", "/", "gone", "\0"])
def test_no_name_leads_to_another_folder(local, runs_folder, name, hub, monkeypatch):
    with pytest.raises(JobError):
        local.own_path(ME, name)
    with pytest.raises(TransferError):
        local.classifier(ME, name)
    monkeypatch.chdir(runs_folder.parent)
    with pytest.raises(TransferError):  # a name with a slash is looked up on the Hub only
        local.classifier(ME, f"{runs_folder.name}/tiny")


def test_a_model_on_the_hub_is_used_by_its_id_or_link(local, runs_folder, hub):
    hub.add("models", "ann/shapes", files_of(runs_folder / "tiny"))
    expected = load(runs_folder / "tiny").classify(picture(1, 0))
    assert local.classifier(ME, "ann/shapes").classify(picture(1, 0)) == expected
    asked = len(hub.requests)
    assert local.classifier(ME, " ann/shapes ").classes == CLASSES
    assert len(hub.requests) == asked
    link = "https://huggingface.co/ann/shapes"
    assert local.classifier(ME, link).classify(picture(1, 0)) == expected
    with pytest.raises(RunError, match="train again to compare"):
        local.comparison(ME, "ann/shapes")


def test_a_shared_server_asks_the_hub_without_its_owner_s_token(
    jobs, runs_folder, hub, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    hub.add("models", "ann/secret", files_of(runs_folder / "tiny"), private=True)
    assert LoadedRuns(jobs, shared=False).classifier(ME, "ann/secret").classes == CLASSES
    with pytest.raises(TransferError):
        LoadedRuns(jobs, shared=True).classifier(OTHER, "ann/secret")


def test_a_run_stays_in_memory_until_it_changes(runs_folder, tmp_path):
    path = shutil.copytree(runs_folder / "tiny", tmp_path / "run")
    first, record = cached_classifier(path), cached_run(path)
    assert cached_classifier(path) is first and cached_run(path) is record
    text = (path / RECORD).read_text().replace('"down"', '"under"')
    (path / RECORD).write_text(text)
    assert "under" in cached_classifier(path).classes and "under" in cached_run(path).classes


def test_a_hub_model_is_opened_once_and_waits_for_no_other(opened):
    names, models, let_go = opened
    with ThreadPoolExecutor(8) as people:
        (first,) = set(people.map(models.classifier, ["ann/a"] * 8))
    with ThreadPoolExecutor(1) as aside:
        waiting = aside.submit(models.classifier, "ann/slow")
        assert models.classifier("ann/a") is first and not waiting.done()
        let_go.set()
    assert names == ["hub:ann/a", "hub:ann/slow"]


def test_an_error_of_the_hub_is_remembered_for_a_moment(opened):
    names, models, _ = opened
    for _ in range(3):
        with pytest.raises(RunError, match="found no hub:ann/gone"):
            models.classifier("ann/gone")
    assert len(names) == 1
