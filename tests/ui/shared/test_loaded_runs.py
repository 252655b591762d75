import shutil

import pytest

from tests.tiny import CLASSES, picture
from tests.tiny_timm import files_of
from tests.ui.visitors import ME, OTHER
from transfer import load
from transfer.errors import JobError, RunError, TransferError
from transfer.runs.run import RECORD, read_run
from transfer.ui.shared.loaded_runs import (
    EXAMPLE,
    EXAMPLE_FOLDER,
    LoadedRuns,
    cached_classifier,
    cached_run,
)

NO_NAMES = ("", ".", "..", "../tiny", "tiny/../tiny", "/", "gone", "~", "tiny/", "\0")


@pytest.fixture
def local(jobs) -> LoadedRuns:
    return LoadedRuns(jobs, shared=False)


@pytest.fixture
def shared(empty) -> LoadedRuns:
    """On a shared server where nobody has runs."""
    return LoadedRuns(empty, shared=True)


def test_own_runs_come_first_and_the_example_is_always_there(local, shared):
    names = [name for _, name in local.choices(ME)]
    assert names == ["tiny", EXAMPLE]
    assert "right" in local.choices(ME)[0][0]
    assert [name for _, name in shared.choices(OTHER)] == [EXAMPLE]


def test_the_example_is_a_run_that_is_small_and_names_no_machine():
    run = read_run(EXAMPLE_FOLDER)
    assert run.record["source"] == "digits" and run.record["body"]["weights"] == "bundled"
    assert run.record["result"]["run"] == "transfer/example"
    assert sum(path.stat().st_size for path in EXAMPLE_FOLDER.iterdir()) < 1_000_000
    assert run.accuracy > 0.97


def test_the_example_works(local):
    found = local.classifier(ME, EXAMPLE).classify(picture(0, 0))
    assert len(found) == 5 and {p.label for p in found} <= set("0123456789")
    assert list(local.comparison(ME, EXAMPLE).classifiers) == ["features", "warm-up"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_no_name_is_a_way_to_another_folder(local, shared, name, hub):
    for runs in (local, shared):
        with pytest.raises(JobError):
            runs.own_path(ME, name)
        with pytest.raises(TransferError) as caught:
            runs.classifier(ME, name)
        assert "\n" not in str(caught.value)


def test_a_shared_server_keeps_runs_to_their_owner(shared):
    for use in (shared.own_path, shared.classifier, shared.comparison):
        with pytest.raises(JobError, match="no such finished run"):
            use(OTHER, "tiny")


def test_what_has_a_slash_is_asked_of_the_hub_and_never_of_this_disk(
    local, runs_folder, hub, monkeypatch
):
    monkeypatch.chdir(runs_folder.parent)
    here = f"{runs_folder.name}/tiny"
    assert load(here)
    with pytest.raises(TransferError, match="on the Hub"):
        local.classifier(ME, here)
    with pytest.raises(TransferError):
        local.classifier(ME, str(runs_folder / "tiny"))


def test_a_model_on_the_hub_is_used_by_its_id_or_link(local, runs_folder, hub):
    hub.add("models", "ann/shapes", files_of(runs_folder / "tiny"))
    wanted = load(runs_folder / "tiny").classify(picture(1, 0))
    assert local.classifier(ME, "ann/shapes").classify(picture(1, 0)) == wanted
    asked = len(hub.requests)
    assert local.classifier(ME, " ann/shapes ").classes == CLASSES
    assert len(hub.requests) == asked
    link = "https://huggingface.co/ann/shapes"
    assert local.classifier(ME, link).classify(picture(1, 0)) == wanted


def test_a_shared_server_asks_the_hub_as_nobody(jobs, runs_folder, hub, monkeypatch):
    """Else strangers could use what only the owner of the server may read."""
    from tests.hub_server import FRIEND

    monkeypatch.setenv("HF_TOKEN", FRIEND)
    hub.add("models", "ann/secret", files_of(runs_folder / "tiny"), private=True)
    assert LoadedRuns(jobs, shared=False).classifier(ME, "ann/secret").classes == CLASSES
    with pytest.raises(TransferError):
        LoadedRuns(jobs, shared=True).classifier(OTHER, "ann/secret")


def test_a_model_from_the_hub_has_no_stages_to_compare(local, runs_folder, hub):
    hub.add("models", "ann/again", files_of(runs_folder / "tiny") | {"stages.safetensors": b""})
    with pytest.raises(RunError, match="train again to compare"):
        local.comparison(ME, "ann/again")


def test_a_run_stays_in_memory_until_it_is_another(runs_folder, tmp_path):
    path = shutil.copytree(runs_folder / "tiny", tmp_path / "run")
    first, record = cached_classifier(path), cached_run(path)
    assert cached_classifier(path) is first and cached_run(path) is record
    text = (path / RECORD).read_text().replace('"down"', '"under"')
    (path / RECORD).write_text(text)
    assert "under" in cached_classifier(path).classes and "under" in cached_run(path).classes
