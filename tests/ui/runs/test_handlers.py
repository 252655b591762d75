import json
import shutil
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import gradio as gr
import pytest

from tests.ui.visitors import ME, OTHER
from transfer.jobs import JobLimits
from transfer.runs.run import read_run
from transfer.settings import TrainingSettings
from transfer.ui.runs.handlers import RunHandlers
from transfer.ui.shared.loaded_runs import cached_run
from transfer.ui.shared.run_photos import source_of


@pytest.fixture
def folder(runs_folder, tmp_path):
    """Two runs that a test may change."""
    for name in ("first", "second"):
        shutil.copytree(runs_folder / "tiny", tmp_path / "runs" / name)
    return tmp_path / "runs"


@pytest.fixture
def handlers(folder, manage):
    return RunHandlers(manage(folder))


def test_a_run_is_renamed_and_the_runs_to_compare_stay_selected(handlers):
    compared = ["second", "first"]
    page, run, several, _, empty = handlers.rename(ME, "first", "my <b>best", compared)
    assert "my &lt;b&gt;best" in page and "<b>best" not in page
    assert run.value == "first" and several.value == compared and empty == ""


def test_deleting_asks_once_and_then_removes(handlers, folder):
    about, question, yes, no = handlers.ask(ME, "first")
    assert about == "first" and yes.visible and no.visible and (folder / "first").exists()
    assert "Delete first for good?" in question and 'aria-live="polite"' in question
    page, _, several, _, about, question, yes, no = handlers.delete(ME, about, ["first", "second"])
    assert page.count("<li>") == 1 and several.value == ["second"]
    assert about == "" and "Delete" not in question and not yes.visible and not no.visible
    assert not (folder / "first").exists() and (folder / "second").exists()


def test_a_download_holds_every_file_of_the_run(handlers, folder):
    (folder / "first" / ".hidden").mkdir()
    (folder / "first" / ".hidden" / "part").touch()
    with zipfile.ZipFile(handlers.download(ME, "first")) as archive:
        names = {Path(name) for name in archive.namelist()}
        readme = archive.read("first/README.md").decode()
    files = {path.name for path in (folder / "first").iterdir() if path.is_file()}
    assert names == {Path("first", name) for name in files | {"README.md"}}
    assert all(f"| `{name}` |" in readme for name in files) and 'transfer.load("first")' in readme
    assert "3 classes: across, down and spots" in readme and "Body: " in readme
    run = read_run(folder / "first")
    tested = run.report["images"]
    right = f"{round(run.accuracy * tested)} of {tested} right)"
    assert right in readme and str(folder) not in readme
    (folder / "first" / "README.md").write_text("mine")
    with zipfile.ZipFile(handlers.download(ME, "first")) as archive:
        assert archive.read("first/README.md") == b"mine"
        assert archive.namelist().count("first/README.md") == 1
    report = json.loads((folder / "second" / "report.json").read_text())
    (folder / "second" / "report.json").write_text(json.dumps(report | {"confusion": 0}))
    with zipfile.ZipFile(handlers.download(ME, "second")) as archive:
        assert "second/README.md" not in archive.namelist()


def actions(handlers, visitor: str, run: str | None) -> list:
    """Everything that a visitor can do with a run."""
    acts = (handlers.show, handlers.ask, handlers.download, handlers.mistakes)
    return [
        *(partial(act, visitor, run) for act in acts),
        lambda: handlers.delete(visitor, run, []),
        lambda: handlers.rename(visitor, run, "x", []),
        lambda: handlers.compare(visitor, ["first", run]),
    ]


def test_no_id_leads_to_another_folder_and_nobody_sees_runs_of_others(handlers, folder, manage):
    elsewhere = shutil.copytree(folder, folder.parent / "elsewhere")
    shared = RunHandlers(manage(elsewhere, limits=JobLimits.shared()))
    page, run, _, controls = shared.listed(OTHER)
    assert "No finished runs yet" in page and run.value is None and not controls.visible
    wrong = [*actions(handlers, ME, "../runs/first"), *actions(handlers, ME, "/etc")]
    for act in (*wrong, *actions(shared, OTHER, "first")):
        with pytest.raises(gr.Error, match="no such finished run"):
            act()
    with pytest.raises(gr.Error, match="reload"):
        shared.show("", "first")


def test_images_of_mistakes_are_read_for_the_owner_of_the_training_alone(handlers, folder):
    run = cached_run(folder / "first")

    def source(visitor: str, run=run) -> str | None:
        listed = handlers.jobs.finished.get("first", visitor)
        return source_of(handlers.jobs, visitor, listed, run)

    assert source(ME) == run.record["source"], "a run of the command line"
    handlers.rename(ME, "first", "other", [])
    assert source(ME) == run.record["source"], "a renamed one"
    other = handlers.jobs.start("/photos/of/another", TrainingSettings(), owner=OTHER)
    handlers.jobs._store.change(other, out=folder / "first")
    assert source(ME) is None and source(OTHER) == "/photos/of/another"
    digits = replace(run, record=run.record | {"source": "digits"})
    assert source(ME, digits) == "digits"
