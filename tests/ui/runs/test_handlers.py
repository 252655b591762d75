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
from transfer.jobs.run_photos import source_of
from transfer.runs.run import read_run
from transfer.settings import TrainingSettings
from transfer.ui.runs.handlers import RunHandlers
from transfer.ui.runs.rows import run_rows
from transfer.ui.shared.loaded_runs import cached_run


@pytest.fixture
def folder(runs_folder, tmp_path):
    """Two runs that a test may change."""
    for name in ("first", "second"):
        shutil.copytree(runs_folder / "tiny", tmp_path / "runs" / name)
    return tmp_path / "runs"


@pytest.fixture
def handlers(folder, manage):
    return RunHandlers(manage(folder))


def clicked(run: str | None = "first", **said) -> gr.EventData:
    return gr.EventData(None, {"run": run} | said)


def test_what_is_shown_follows_the_runs(handlers, folder):
    """Renamed, deleted, brought back, or deleted by hand."""
    report, shown = handlers.show(ME, clicked())
    comparison, compared = handlers.compare(ME, clicked(runs=["second", "first"]))
    assert "Report of first" in report and shown == "first" and compared == ["second", "first"]
    handlers.rename(ME, clicked(name="my <b>best"))
    rows, report, shown, comparison, compared = handlers.update(ME, shown, compared)
    for page in (rows, report, comparison):
        assert "my &lt;b&gt;best" in page and "<b>best" not in page
    assert shown == "first" and compared == ["second", "first"]
    handlers.delete(ME, clicked())
    rows, *rest = handlers.update(ME, shown, compared)
    assert rest == ["", "", "", []] and rows.count("<li>") == 1
    assert "my &lt;b&gt;best deleted." in rows and 'aria-label="Undo my' in rows
    handlers.undo(ME, clicked())
    rows, report, *_ = handlers.update(ME, shown, compared)
    assert rows.count("<li>") == 2 and "deleted" not in rows and "Report of my" in report
    shutil.rmtree(folder / "first")
    assert handlers.update(ME, shown, compared)[1:3] == ("", "")


def test_a_row_says_what_is_known_of_its_run(handlers):
    (first, _) = handlers.jobs.finished.of(ME)
    page = run_rows(
        [replace(first, title="", source="<i>", effort="quick", images=6, accuracy=0.5)]
    )
    assert "<b>&lt;i&gt;, quick, <time " in page and '<b class="n">3 of 6 right' in page
    assert 'aria-label="Delete &lt;i&gt;, quick, ' in page and "data-changes" not in page
    page = run_rows([replace(first, stopped="warm-up", until=2_000_000_000.0)])
    assert "stopped in warm-up, removed <time " in page and 'data-changes="2000000000"' in page
    assert 'datetime="2033-05-18T03:33:20+00:00"' in page


def test_a_download_holds_every_file_of_the_run(handlers, folder):
    (folder / "first" / ".hidden").mkdir()
    (folder / "first" / ".hidden" / "part").touch()
    with zipfile.ZipFile(handlers.download(ME, clicked())) as archive:
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
    with zipfile.ZipFile(handlers.download(ME, clicked())) as archive:
        assert archive.read("first/README.md") == b"mine"
        assert archive.namelist().count("first/README.md") == 1
    report = json.loads((folder / "second" / "report.json").read_text())
    (folder / "second" / "report.json").write_text(json.dumps(report | {"confusion": 0}))
    with zipfile.ZipFile(handlers.download(ME, clicked("second"))) as archive:
        assert "second/README.md" not in archive.namelist()


def actions(handlers, visitor: str, run: str | None) -> list:
    """Everything that a visitor can do with a run."""
    acts = (handlers.show, handlers.rename, handlers.delete, handlers.download, handlers.choose)
    return [
        *(partial(act, visitor, clicked(run, name="x")) for act in acts),
        lambda: handlers.mistakes(visitor, run),
        lambda: handlers.compare(visitor, clicked(runs=["first", run])),
    ]


def test_no_id_leads_to_another_folder_and_nobody_sees_runs_of_others(handlers, folder, manage):
    elsewhere = shutil.copytree(folder, folder.parent / "elsewhere")
    shared = RunHandlers(manage(elsewhere, limits=JobLimits.shared()))
    rows, report, *_ = shared.update(OTHER, "first", ["first", "second"])
    assert "No finished runs yet" in rows and report == ""
    wrong = [*actions(handlers, ME, "../runs/first"), *actions(handlers, ME, "/etc")]
    for act in (*wrong, *actions(shared, OTHER, "first")):
        with pytest.raises(gr.Error, match="no such finished run"):
            act()
    with pytest.raises(gr.Error, match="reload"):
        shared.show("", clicked())
    for posted in (None, "run", ["run"], {"runs": {}}):
        for act in (handlers.show, handlers.undo, handlers.compare):
            with pytest.raises(gr.Error):
                act(ME, gr.EventData(None, posted))


def test_images_of_mistakes_are_read_for_the_owner_of_the_training_alone(handlers, folder):
    run = cached_run(folder / "first")

    def source(visitor: str, run=run) -> str | None:
        listed = handlers.jobs.finished.get("first", visitor)
        return source_of(handlers.jobs, visitor, listed, run)

    assert source(ME) == run.record["source"], "a run of the command line"
    handlers.rename(ME, clicked(name="other"))
    assert source(ME) == run.record["source"], "a renamed one"
    other = handlers.jobs.start("/photos/of/another", TrainingSettings(), owner=OTHER)
    handlers.jobs._store.change(other, out=folder / "first")
    assert source(ME) is None and source(OTHER) == "/photos/of/another"
    digits = replace(run, record=run.record | {"source": "digits"})
    assert source(ME, digits) == "digits"
