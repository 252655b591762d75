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
from transfer.ui.shared import loaded_runs
from transfer.ui.shared.loaded_runs import DIGITS, EXAMPLE, EXAMPLES, HubModels, LoadedRuns


@pytest.fixture
def local(jobs) -> LoadedRuns:
    return LoadedRuns(jobs, shared=False)


def test_own_runs_come_first_and_the_examples_are_always_there(local, empty):
    (title, name), *examples = local.choices(ME)
    assert "test accuracy" in title and name == "tiny"
    assert [name for _, name in examples] == [EXAMPLE, DIGITS]
    shared = LoadedRuns(empty, shared=True)
    assert [name for _, name in shared.choices(OTHER)] == [EXAMPLE, DIGITS]
    for use in (shared.own_path, shared.classifier, shared.comparison):
        with pytest.raises(JobError, match="no such finished run"):
            use(OTHER, "tiny")


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_small_name_no_machine_and_work(local, example):
    path = local.own_path(ME, example)
    run = read_run(path)
    assert run.record["result"]["run"] == "transfer/example" and run.accuracy > 0.93
    assert not {file.suffix for file in path.iterdir()} & {".jpg", ".png"}
    assert run.record["source"] in ("digits", "flowers12")
    assert sum(file.stat().st_size for file in path.iterdir()) < 2_000_000
    assert len(local.classifier(ME, example).classify(picture(0, 0), top=1)) == 1
    assert list(local.comparison(ME, example).classifiers) == ["features", "warm-up"]


@pytest.mark.parametrize("name", ["", "..", "../tiny", "tiny/../tiny", "/", "\0"])
def test_no_name_leads_to_another_folder(local, runs_folder, name, hub, monkeypatch):
    monkeypatch.chdir(runs_folder.parent)
    with pytest.raises(JobError):
        local.own_path(ME, name)
    for wrong in (name, f"{runs_folder.name}/tiny"):  # with a slash: looked up on the Hub only
        with pytest.raises(TransferError):
            local.classifier(ME, wrong)


def test_a_model_on_the_hub_is_used_by_its_id_or_link(local, runs_folder, hub):
    hub.add("models", "ann/shapes", files_of(runs_folder / "tiny"))
    expected = load(runs_folder / "tiny").classify(picture(1, 0))
    for name in ("ann/shapes", "https://huggingface.co/ann/shapes"):
        assert local.classifier(ME, name).classify(picture(1, 0)) == expected
    with pytest.raises(RunError, match="train again to compare"):
        local.comparison(ME, "ann/shapes")


def test_a_shared_server_asks_the_hub_without_its_owner_s_token(
    local, jobs, runs_folder, hub, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    hub.add("models", "ann/secret", files_of(runs_folder / "tiny"), private=True)
    assert local.classifier(ME, "ann/secret").classes == CLASSES
    with pytest.raises(TransferError):
        LoadedRuns(jobs, shared=True).classifier(OTHER, "ann/secret")


@pytest.mark.parametrize("read", [loaded_runs.cached_classifier, loaded_runs.cached_run])
def test_a_run_stays_in_memory_until_it_changes(read, runs_folder, tmp_path):
    path = shutil.copytree(runs_folder / "tiny", tmp_path / "run")
    assert read(path) is read(path)
    (path / RECORD).write_text((path / RECORD).read_text().replace('"down"', '"under"'))
    assert "under" in read(path).classes


def test_a_hub_model_or_its_error_is_asked_for_once_and_waits_for_no_other(monkeypatch):
    names, let_go, models = [], threading.Event(), HubModels(False)

    def open_classifier(name: str, token):
        names.append(name)
        if "gone" in name:
            raise RunError(f"expected a model, found no {name}")
        assert "slow" not in name or let_go.wait(SECONDS)
        return object()

    monkeypatch.setattr("transfer.inference.loading.open_classifier", open_classifier)
    for _ in range(2):
        with pytest.raises(RunError, match="found no hub:ann/gone"):
            models.classifier("ann/gone")
    with ThreadPoolExecutor(8) as people:
        (first,) = set(people.map(models.classifier, ["ann/a"] * 7))
        waiting = people.submit(models.classifier, "ann/slow")
        assert models.classifier("ann/a") is first and not waiting.done()
        let_go.set()
    assert names == ["hub:ann/gone", "hub:ann/a", "hub:ann/slow"]
