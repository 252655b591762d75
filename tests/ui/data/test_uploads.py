import zipfile
from pathlib import Path

import gradio as gr
import pytest

from tests.tiny import draw_classes
from tests.ui.visitors import ME, OTHER
from tests.waiting import wait_for
from transfer.errors import JobError
from transfer.jobs import JobLimits
from transfer.settings import TrainingSettings
from transfer.ui.data.uploads import PHOTOS, UploadHandlers


@pytest.fixture
def uploads(empty):
    return UploadHandlers(empty)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[str]:
    folder = draw_classes(tmp_path_factory.mktemp("drawn"), each=6, classes=("any",))
    return [str(path) for path in sorted((folder / "any").iterdir())]


def archive(path: Path, holds: str = "a") -> str:
    """The path of a zip with an empty file."""
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(holds, "")
    return str(path)


def test_classes_are_made_photo_by_photo(uploads, photos):
    assert "c&amp;t: 0 photos, 5 more needed" in uploads.add_class(ME, "c&t")[1]
    uploads.remove_class(ME, "c&t")
    uploads.add_class(ME, "cat")
    choice, _, empty = uploads.add_class(ME, "dog")
    for name, why in (
        ("cats/dogs", "expected a class name"),
        (" ", "type one"),
        (None, "type one"),
    ):
        with pytest.raises(gr.Error, match=why):
            uploads.add_class(ME, name)
    assert [name for name, _ in choice.choices] == ["cat", "dog"] and choice.value == "dog"
    page, left, _ = uploads.add_photos(ME, "cat", photos)
    assert "cat: 6 photos</h4>" in page and page.count("<img") == 6 and empty == "" and left is None
    for photo in photos[:5]:
        uploads.add_photos(ME, "dog", photo)
    assert uploads.path_of(ME, PHOTOS) == uploads.images(ME).folder
    _, choice, page = uploads.remove_class(ME, "dog")
    assert choice.value == "cat" and "dog:" not in page


def test_photos_of_other_things_are_a_visitor_s_own(uploads, photos):
    assert "4 photos, 1 more needed" in uploads.add_others(ME, photos[:4])[0]
    assert uploads.others_of(ME) is None
    page, left, _ = uploads.add_others(ME, photos[4:])
    assert "Other things: 6 photos</h4>" in page and left is None
    assert uploads.opened(ME)[-1] == page and not uploads.opened(OTHER)[-1]
    folder = uploads.others_of(ME)
    assert len(list(Path(folder).rglob("*.jpg"))) == 6 and uploads.others_of(OTHER) is None
    assert uploads.remove_others(ME) == "" and not Path(folder).exists()


def test_nobody_sees_another_visitor_s_images(uploads, photos, tmp_path):
    uploads.add_class(ME, "cat")
    uploads.add_photos(ME, "cat", photos)
    named = uploads.upload(ME, archive(tmp_path / "mine.zip"))[0].value
    assert uploads.path_of(ME, named).name == "mine.zip"
    assert "No classes yet" in uploads.overview(OTHER)
    guesses = [(ME, f"your upload {name}") for name in ("../x", "/etc/passwd", "", ".")]
    for visitor, source in ((OTHER, named), *guesses):
        with pytest.raises(JobError, match="upload it again"):
            uploads.path_of(visitor, source)
    assert ME not in "".join(str(path) for path in uploads.folder.rglob("*"))
    for call in (uploads.opened, uploads.overview, uploads.download):
        with pytest.raises(gr.Error, match="reload"):
            call("")


def test_what_is_not_added_is_reported(uploads, photos, tmp_path, monkeypatch):
    bad = tmp_path / "<b>.jpg"
    bad.write_text("hello")
    uploads.add_class(ME, "cat")
    page, _, note = uploads.add_photos(ME, "cat", [photos[0], str(bad), photos[1]])
    assert "cat: 2 photos" in page and "Added 2 of 3 photos: &lt;b&gt;.jpg" in note
    monkeypatch.setattr("transfer.data.local.custom.MAX_PHOTOS", 3)
    page, _, note = uploads.add_photos(ME, "cat", photos)
    assert "cat: 3 photos" in page
    assert f"Remove a class first. Added 1 of {len(photos)} photos: expected at most 3" in note
    assert "one of your classes" in uploads.add_photos(ME, None, photos)[2]
    monkeypatch.setattr(uploads.jobs.expiry, "limits", JobLimits(upload_bytes=1))
    assert "remove a class" in uploads.add_photos(ME, "cat", photos)[2].lower()
    with pytest.raises(gr.Error, match="remove a class"):
        uploads.upload(ME, archive(tmp_path / "big.zip"))
    assert not list(uploads.folder.rglob("*.zip"))


def test_own_datasets_can_be_chosen_and_saved(uploads, photos, tmp_path, gradio_folder):
    uploads.add_class(ME, "cat")
    with pytest.raises(gr.Error, match="no photos yet"):
        uploads.download(ME)
    uploads.add_photos(ME, "cat", photos[0])
    uploads.upload(ME, archive(tmp_path / "a.zip"))
    sources = uploads.opened(ME)[0]
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
    assert not [path for path in uploads.folder.rglob("*") if path.is_file()]
    for wrong in (named, PHOTOS, None):
        with pytest.raises(gr.Error, match="expected an upload of yours"):
            uploads.remove_upload(ME, wrong)
