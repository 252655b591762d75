import zipfile
from pathlib import Path

import gradio as gr
import pytest

from tests.tiny import draw_classes, picture
from tests.ui.conftest import SAYS_NOTHING
from transfer.errors import JobError
from transfer.jobs import JobLimits, JobManager
from transfer.settings import TrainingSettings
from transfer.ui.data.uploads import PHOTOS, UploadHandlers

ME, OTHER = "m" * 32, "o" * 32


@pytest.fixture
def own(empty) -> UploadHandlers:
    return UploadHandlers(empty)


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
    assert own.use(ME).value == PHOTOS
    assert own.source_of(ME, PHOTOS) == own.images(ME).folder


def test_nobody_sees_another_s_classes_or_uploads(own, photos, tmp_path):
    own.add_class(ME, "cat")
    own.add_photos(ME, "cat", photos)
    named = own.upload(ME, archive(tmp_path / "mine.zip"))[0].value
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
    monkeypatch.setattr("transfer.ui.data.uploads.gr.Warning", told.append)
    bad = tmp_path / "<b>.jpg"
    bad.write_text("hello")
    own.add_class(ME, "cat")
    page, _ = own.add_photos(ME, "cat", [photos[0], str(bad), str(bad), photos[1]])
    assert "cat: 2 photos" in page
    assert len(told) == 1 and "Added 2 of 4 photos; &lt;b&gt;.jpg" in told[0]


def test_photos_that_do_not_fit_any_more_leave_no_trace_in_the_field(own, photos, monkeypatch):
    told = []
    monkeypatch.setattr("transfer.ui.data.uploads.gr.Warning", told.append)
    monkeypatch.setattr("transfer.data.local.custom.MAX_PHOTOS", 2)
    own.add_class(ME, "cat")
    page, left = own.add_photos(ME, "cat", photos)
    assert "cat: 2 photos" in page and left is None
    assert len(told) == 1 and f"Added 2 of {len(photos)} photos; expected at most 2" in told[0]


def test_photos_without_a_class_are_told_and_dropped(own, photos, monkeypatch):
    told = []
    monkeypatch.setattr("transfer.ui.data.uploads.gr.Warning", told.append)
    page, left = own.add_photos(ME, None, photos)
    assert "No classes yet" in page and left is None and "one of your classes" in told[0]


def test_room_is_looked_for_once_for_all_photos(own, photos, monkeypatch):
    asked = []
    monkeypatch.setattr(own.jobs, "check_upload", lambda owner, size: asked.append(size))
    own.add_class(ME, "cat")
    own.add_photos(ME, "cat", photos)
    assert asked == [sum(Path(photo).stat().st_size for photo in photos)]


def test_a_visitor_without_an_id_has_no_classes(own):
    for call in (own.at_hand, own.overview, own.download):
        with pytest.raises(gr.Error, match="reload"):
            call("")


def test_all_photos_are_saved_as_one_zip(own, photos, gradio_folder):
    with pytest.raises(gr.Error, match="no photos yet"):
        own.download(ME)
    own.add_class(ME, "cat")
    own.add_photos(ME, "cat", photos[:2])
    saved = Path(own.download(ME))
    with zipfile.ZipFile(saved) as taken:
        assert taken.namelist() == ["cat/00001.jpg", "cat/00002.jpg"]
    assert saved.is_relative_to(gradio_folder)
    assert not list(own.folder.rglob("*.zip"))


def test_a_class_is_removed_and_another_chosen(own, photos):
    own.add_class(ME, "cat")
    own.add_class(ME, "dog")
    _, choice, page = own.remove_class(ME, "dog")
    assert choice.value == "cat" and "dog" not in page
    _, choice, page = own.remove_class(ME, "cat")
    assert choice.value is None and "No classes yet" in page


def test_one_s_own_is_offered_whenever_the_page_opens(own, photos, tmp_path):
    def offered(visitor: str = ME) -> list[str]:
        return [
            source for _, source in own.at_hand(visitor)[0].choices if source.startswith("your")
        ]

    own.add_class(ME, "cat")
    assert offered() == []
    own.add_photos(ME, "cat", photos[0])
    own.upload(ME, archive(tmp_path / "b.zip"))
    own.upload(ME, archive(tmp_path / "a.zip"))
    assert offered() == [PHOTOS, "your upload a.zip", "your upload b.zip"]
    assert offered(OTHER) == []
    own.remove_class(ME, "cat")
    assert offered() == ["your upload a.zip", "your upload b.zip"]


def test_the_source_stays_what_it_is_when_the_page_opens(own):
    assert "value" not in own.at_hand(ME)[0].constructor_args


def test_an_upload_is_replaced_by_one_of_its_name_and_removed(own, tmp_path):
    named = own.upload(ME, archive(tmp_path / "mine.zip"))[0].value
    own.upload(ME, archive(tmp_path / "mine.zip", holds="more"))
    with zipfile.ZipFile(own.source_of(ME, named)) as kept:
        assert kept.namelist() == ["more"]
    assert own.remove_upload(ME, named).value == "digits"
    assert not [path for path in own.folder.rglob("*") if path.is_file()]
    for wrong in (named, PHOTOS, "digits", "", None, "your upload ../x"):
        with pytest.raises(gr.Error, match="expected an upload of yours"):
            own.remove_upload(ME, wrong)


def test_an_upload_stays_while_a_training_reads_it(own, tmp_path):
    named = own.upload(ME, archive(tmp_path / "mine.zip"))[0].value
    job = own.jobs.start(str(own.source_of(ME, named)), TrainingSettings(), owner=ME)
    with pytest.raises(gr.Error, match="your training reads this upload"):
        own.remove_upload(ME, named)
    own.jobs.stop(job.id, ME)


def archive(path: Path, holds: str = "") -> str:
    """The path of a zip with an empty file, if any."""
    with zipfile.ZipFile(path, "w") as made:
        if holds:
            made.writestr(holds, "")
    return str(path)


def test_class_names_cannot_carry_markup(own, tmp_path):
    own.add_class(ME, "a&b'")
    picture(0, 0).save(tmp_path / "photo.png")
    page, _ = own.add_photos(ME, "a&b'", str(tmp_path / "photo.png"))
    assert "a&b'" not in page and "a&amp;b" in page
    assert Path(own.images(ME).folder / "a&b'").is_dir()


def test_what_is_too_much_is_refused_before_it_is_kept(tmp_path, photos, monkeypatch):
    told = []
    monkeypatch.setattr("transfer.ui.data.uploads.gr.Warning", told.append)
    jobs = JobManager(tmp_path / "runs", limits=JobLimits(upload_bytes=100), command=SAYS_NOTHING)
    own = UploadHandlers(jobs)
    own.add_class(ME, "cat")
    own.add_photos(ME, "cat", photos)
    assert "remove a class or an upload first" in told[0]
    big = tmp_path / "big.zip"
    big.write_bytes(bytes(101))
    with pytest.raises(gr.Error, match="at most"):
        own.upload(ME, str(big))
    assert "cat: 0 photos" in own.overview(ME)
    assert not list(own.folder.rglob("*.zip"))
    jobs.close()
