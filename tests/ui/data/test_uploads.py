import zipfile
from pathlib import Path

import gradio as gr
import pytest

from tests.ui.visitors import ME, OTHER, teach
from tests.waiting import wait_for
from transfer.errors import JobError
from transfer.jobs import JobLimits
from transfer.settings import TrainingSettings
from transfer.ui.data.uploads import PHOTOS, UploadHandlers


@pytest.fixture
def uploads(empty):
    return UploadHandlers(empty)


def archive(path: Path, holds: str = "a") -> str:
    """The path of a zip with an empty file."""
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(holds, "")
    return str(path)


def test_nobody_sees_another_visitor_s_images(uploads, photo, tmp_path):
    teach(uploads, cat=[photo])
    named = uploads.upload(ME, archive(tmp_path / "mine.zip"))[0].value
    assert uploads.path_of(ME, named).name == "mine.zip"
    assert not uploads.images(OTHER).counts()
    guesses = [(ME, f"your upload {name}") for name in ("../x", "/etc/passwd", "", ".")]
    for visitor, source in ((OTHER, named), *guesses):
        with pytest.raises(JobError, match="upload it again"):
            uploads.path_of(visitor, source)
    assert ME not in "".join(str(path) for path in uploads.jobs.runs.rglob("*"))
    for call in (uploads.opened, uploads.download):
        with pytest.raises(gr.Error, match="reload"):
            call("")


def test_own_datasets_can_be_chosen_and_saved(uploads, photo, tmp_path, gradio_folder, monkeypatch):
    with pytest.raises(gr.Error, match="no photos yet"):
        uploads.download(ME)
    teach(uploads, cat=[photo])
    monkeypatch.setattr(uploads.jobs.expiry, "limits", JobLimits(upload_bytes=1))
    with pytest.raises(gr.Error, match="remove a class"):
        uploads.upload(ME, archive(tmp_path / "big.zip"))
    monkeypatch.undo()
    uploads.upload(ME, archive(tmp_path / "a.zip"))
    sources = uploads.opened(ME)
    assert "value" not in sources.constructor_args  # the current choice stays
    assert [source for _, source in sources.choices][-2:] == [PHOTOS, "your upload a.zip"]
    with zipfile.ZipFile(uploads.download(ME)) as saved:
        assert saved.namelist() == ["cat/00001.jpg"]


def test_an_upload_is_replaced_and_removed(uploads, tmp_path):
    uploads.upload(ME, archive(tmp_path / "mine.zip"))
    named = uploads.upload(ME, archive(tmp_path / "mine.zip", holds="more"))[0].value
    path = uploads.path_of(ME, named)
    assert zipfile.ZipFile(path).namelist() == ["more"]
    job = uploads.jobs.start(str(path), TrainingSettings(), owner=ME)
    wait_for(lambda: job.state != "queued")  # by a thread, which would change it again later
    with pytest.raises(gr.Error, match="your training reads this upload"):
        uploads.remove_upload(ME, named)
    job.state = "stopped"
    assert uploads.remove_upload(ME, named).value == "digits"
    assert not [path for path in uploads.jobs.expiry.own_images.rglob("*") if path.is_file()]
    for wrong in (named, PHOTOS, None):
        with pytest.raises(gr.Error, match="expected an upload of yours"):
            uploads.remove_upload(ME, wrong)
