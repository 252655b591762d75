import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from tests.ui.conftest import SAYS_NOTHING
from tests.ui.visitors import ME, OTHER
from transfer.jobs import JobLimits, JobManager
from transfer.ui.runs.handlers import RunHandlers
from transfer.ui.shared.loaded_runs import cached_run


@pytest.fixture
def folder(runs_folder, tmp_path):
    """Two runs that a test may change."""
    for name in ("first", "second"):
        shutil.copytree(runs_folder / "tiny", tmp_path / "runs" / name)
    return tmp_path / "runs"


@pytest.fixture
def kept(folder):
    jobs = JobManager(folder, command=SAYS_NOTHING)
    yield RunHandlers(jobs)
    jobs.close()


def test_runs_are_listed_and_the_one_that_is_shown_is_chosen(kept):
    page, chosen, several, controls = kept.listed(ME, "first")
    assert controls.visible
    assert page.count("<li>") == 2 and "ago" in page and "removed in" not in page
    assert sorted(name for _, name in chosen.choices) == ["first", "second"]
    assert chosen.value == "first" and several.value == []
    assert kept.listed(ME, "gone")[1].value in ("first", "second")


def test_without_runs_that_is_said(tmp_path):
    jobs = JobManager(tmp_path / "runs", command=SAYS_NOTHING)
    page, chosen, _, controls = RunHandlers(jobs).listed(ME)
    assert not controls.visible
    assert "No finished runs yet" in page and chosen.value is None
    jobs.close()


def test_a_run_shows_its_report_again(kept):
    page, shown = kept.show(ME, "first")
    assert "Report of first" in page and "What each step bought" in page and shown == "first"


def test_renaming_changes_what_is_listed_and_bad_names_are_a_sentence(kept):
    page, chosen, _, _, empty = kept.rename(ME, "first", "my <b>best", [])
    assert "my &lt;b&gt;best" in page and "<b>best" not in page
    assert chosen.value == "first" and empty == ""
    with pytest.raises(gr.Error, match="1 to 60"):
        kept.rename(ME, "first", "", [])


def test_runs_chosen_to_be_compared_stay_chosen_while_they_are_there(kept):
    compared = ["second", "first"]
    assert kept.listed(ME, "first", compared)[2].value == compared
    assert kept.rename(ME, "first", "other", compared)[2].value == compared
    assert kept.delete(ME, "first", compared)[2].value == ["second"]


def test_deleting_asks_once_and_then_removes(kept, folder):
    about, question, yes, no = kept.ask(ME, "first")
    assert about == "first" and yes.visible and no.visible
    assert "Delete first for good?" in question and 'aria-live="polite"' in question
    assert (folder / "first").exists()
    page, _, _, _, about, question, yes, no = kept.delete(ME, about, [])
    assert page.count("<li>") == 1 and not yes.visible and not no.visible
    assert about == "" and "Delete" not in question
    assert not (folder / "first").exists() and (folder / "second").exists()


def test_a_download_holds_the_whole_run(kept, folder):
    with zipfile.ZipFile(kept.download(ME, "first")) as archive:
        names = {Path(name).name for name in archive.namelist()}
        assert all(name.startswith("first/") for name in archive.namelist())
    assert names == {path.name for path in (folder / "first").iterdir()}


def test_two_runs_are_compared_and_one_is_not(kept):
    assert "What each step bought them" in kept.compare(ME, ["first", "second"])
    for wrong in ([], ["first"], None, "first", ["first"] * 7):
        with pytest.raises(gr.Error, match="2 to 6 runs"):
            kept.compare(ME, wrong)


@pytest.mark.parametrize("run", [None, "", "gone", "../runs/first", "first/../second", "/etc"])
def test_an_id_is_no_way_to_another_folder(kept, run):
    acts = [kept.show, kept.ask, kept.download, kept.mistakes]
    acts += [lambda visitor, run: kept.delete(visitor, run, [])]
    acts += [lambda visitor, run: kept.rename(visitor, run, "x", [])]
    acts += [lambda visitor, run: kept.compare(visitor, ["first", run])]
    for act in acts:
        if act == kept.mistakes and not run:
            continue
        with pytest.raises(gr.Error, match="of yours"):
            act(ME, run)


def test_a_visitor_without_a_name_has_no_runs(kept):
    with pytest.raises(gr.Error, match="reload"):
        kept.show("", "first")


def test_strangers_see_and_change_nothing_of_each_other(folder):
    jobs = JobManager(folder, command=SAYS_NOTHING, limits=JobLimits.shared())
    kept = RunHandlers(jobs)
    assert "No finished runs" in kept.listed(OTHER)[0]
    for act in (kept.show, kept.ask, kept.download, kept.mistakes):
        with pytest.raises(gr.Error, match="of yours"):
            act(OTHER, "first")
    with pytest.raises(gr.Error, match="of yours"):
        kept.delete(OTHER, "first", [])
    jobs.close()


def test_images_of_mistakes_are_read_from_one_s_own_training_and_the_command_line_s(kept, folder):
    run = cached_run(folder / "first")
    listed = kept.jobs.run_of(ME, "first")
    assert kept._source_of(ME, listed, run) == run.record["source"]
    kept.rename(ME, "first", "adopted", [])
    assert kept._source_of(ME, kept.jobs.run_of(ME, "first"), run) == run.record["source"]


def test_everybody_has_the_digits(kept, folder):
    run = cached_run(folder / "first")
    digits = replace(run, record=run.record | {"source": "digits"})
    other = kept.jobs.start("digits", {}, owner=OTHER)
    kept.jobs._store.change(other, out=folder / "first")
    assert kept._source_of(ME, kept.jobs.run_of(ME, "first"), digits) == "digits"


def test_another_s_own_photos_are_not_read(kept, folder):
    run = cached_run(folder / "first")
    other = kept.jobs.start("/photos/of/another", {}, owner=OTHER)
    kept.jobs._store.change(other, out=folder / "first")
    listed = kept.jobs.run_of(ME, "first")
    assert kept._source_of(ME, listed, run) is None
    assert kept._source_of(OTHER, listed, run) == "/photos/of/another"
