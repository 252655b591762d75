import zipfile
from pathlib import Path

import gradio as gr
import pytest

from tests.tiny import draw_classes, picture
from tests.ui.conftest import SAYS_NOTHING
from transfer.errors import JobError
from transfer.jobs import Jobs, Limits
from transfer.ui.own import PHOTOS, OwnData

ME, OTHER = "m" * 32, "o" * 32


@pytest.fixture
def own(empty) -> OwnData:
    return OwnData(empty)


@pytest.fixture
def photos(tmp_path) -> list[str]:
    folder = draw_classes(tmp_path / "drawn", each=6, classes=("any",))
    return [str(path) for path in sorted((folder / "any").iterdir())]


def test_classes_are_made_photo_by_photo_until_there_is_enough(own, photos):
    own.add_class(ME, "cat")
    choice, page, empty = own.add_class(ME, "dog")
    assert [name for name, _ in choice.choices] == ["cat", "dog"] and choice.value == "dog"
    assert empty == "" and "dog: 0 photos, 5 more needed" in page
    page, left = own.add_photos(ME, "cat", photos)
    assert left is None and "cat: 6 photos</h4>" in page and page.count("<img") == 6
    with pytest.raises(gr.Error, match="found 0 in 'dog'"):
        own.use(ME)
    for photo in photos[:5]:
        own.add_photos(ME, "dog", photo)
    assert own.use(ME) == PHOTOS
    assert own.source_of(ME, PHOTOS) == own.images(ME).folder


def test_nobody_sees_another_s_classes_or_uploads(own, photos, tmp_path):
    own.add_class(ME, "cat")
    own.add_photos(ME, "cat", photos)
    archive = tmp_path / "mine.zip"
    zipfile.ZipFile(archive, "w").close()
    named = own.upload(ME, str(archive))
    assert own.source_of(ME, named).name == "mine.zip"
    assert "No classes yet" in own.overview(OTHER)
    with pytest.raises(JobError):
        own.source_of(OTHER, named)
    assert ME not in "".join(str(path) for path in own.folder.rglob("*"))


@pytest.mark.parametrize("name", ["../drawn", "/etc/passwd", "", ".", "gone.zip"])
def test_an_upload_s_name_is_no_way_out(own, name):
    with pytest.raises(JobError, match="upload it again"):
        own.source_of(ME, f"your upload {name}")


def test_any_other_source_is_not_one_s_own(own):
    assert own.source_of(ME, "digits") is None
    assert own.source_of("", "user/name") is None


def test_what_cannot_be_read_is_told_and_the_rest_is_added(own, photos, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("transfer.ui.own.gr.Warning", told.append)
    bad = tmp_path / "<b>.jpg"
    bad.write_text("hello")
    own.add_class(ME, "cat")
    page, _ = own.add_photos(ME, "cat", [photos[0], str(bad), str(bad), photos[1]])
    assert "cat: 2 photos" in page
    assert len(told) == 1 and "&lt;b&gt;.jpg" in told[0] and "And 1 more" in told[0]


def test_a_visitor_without_an_id_has_no_classes(own):
    for call in (own.show, own.overview, own.download):
        with pytest.raises(gr.Error, match="reload"):
            call("")


def test_all_photos_are_saved_as_one_zip(own, photos):
    with pytest.raises(gr.Error, match="no photos yet"):
        own.download(ME)
    own.add_class(ME, "cat")
    own.add_photos(ME, "cat", photos[:2])
    with zipfile.ZipFile(own.download(ME)) as archive:
        assert archive.namelist() == ["cat/00001.jpg", "cat/00002.jpg"]


def test_a_class_is_removed_and_another_chosen(own, photos):
    own.add_class(ME, "cat")
    own.add_class(ME, "dog")
    choice, page = own.remove_class(ME, "dog")
    assert choice.value == "cat" and "dog" not in page
    choice, page = own.remove_class(ME, "cat")
    assert choice.value is None and "No classes yet" in page


def test_class_names_cannot_carry_markup(own, tmp_path):
    own.add_class(ME, "a&b'")
    picture(0, 0).save(tmp_path / "photo.png")
    page, _ = own.add_photos(ME, "a&b'", str(tmp_path / "photo.png"))
    assert "a&b'" not in page and "a&amp;b" in page
    assert Path(own.images(ME).folder / "a&b'").is_dir()


def test_what_is_too_much_is_refused_before_it_is_kept(tmp_path, photos):
    jobs = Jobs(tmp_path / "runs", limits=Limits(upload_bytes=100), command=SAYS_NOTHING)
    own = OwnData(jobs)
    own.add_class(ME, "cat")
    with pytest.raises(gr.Error, match="remove some first"):
        own.add_photos(ME, "cat", photos)
    big = tmp_path / "big.zip"
    big.write_bytes(bytes(101))
    with pytest.raises(gr.Error, match="at most"):
        own.upload(ME, str(big))
    assert "cat: 0 photos" in own.overview(ME)
    assert not list(own.folder.rglob("*.zip"))
    jobs.close()
