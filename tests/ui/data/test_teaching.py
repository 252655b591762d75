import re
from pathlib import Path

import gradio as gr
import pytest

from tests.tiny import CLASSES, draw_classes
from tests.ui.visitors import ME, OTHER
from transfer.jobs import JobLimits
from transfer.ui.data.teaching import TeachHandlers
from transfer.ui.data.uploads import PHOTOS, UploadHandlers
from transfer.ui.predict.latest import Page
from transfer.ui.predict.pictures import Asked


@pytest.fixture
def teaching(empty, gradio_folder):
    return TeachHandlers(UploadHandlers(empty))


@pytest.fixture
def photos(tmp_path, gradio_folder) -> list[str]:
    """The paths of six uploads."""
    folder = draw_classes(tmp_path / "gradio", each=6, classes=("any",))
    return [str(path) for path in sorted((folder / "any").iterdir())]


def event(action: str, **data) -> gr.EventData:
    return gr.EventData(None, {"action": action} | data)


def counts(cards: str) -> dict[str, str]:
    """Class → what its card says of its photos."""
    return dict(re.findall(r'data-name="(.*?)".*?class="count">(.*?)<', cards))


def test_two_classes_wait_for_photos_and_are_changed_on_their_cards(teaching, photos):
    assert counts(teaching.cards(ME)) == dict.fromkeys(
        ("Class 1", "Class 2"), "0 photos, 5 more to train"
    )
    assert not teaching.uploads.images(ME).counts()  # on the page only
    sources, cards, why = teaching.change(ME, event("add", name="Class 1", files=photos))
    assert counts(cards)["Class 1"] == "6 photos" and cards.count("<img") == 6
    assert PHOTOS in [source for _, source in sources.choices] and "warning" not in why
    teaching.change(ME, event("new_class"))
    teaching.change(ME, event("rename", name="Class 1", new="c&t"))
    teaching.change(ME, event("remove_class", name="Class 2"))
    _, cards, _ = teaching.change(ME, event("remove_photo", name="c&t", photo="00001.jpg"))
    assert [*counts(cards)] == ["c&amp;t", "Class 3"] and "Undo" in cards
    _, cards, _ = teaching.change(ME, event("undo"))
    assert counts(cards)["c&amp;t"] == "6 photos" and "Undo" not in cards
    assert "c&amp;t" not in teaching.cards(OTHER)


def test_what_is_not_accepted_is_explained_and_changes_nothing(teaching, photos, monkeypatch):
    (bad := Path(photos[0]).with_name("<b>.jpg")).write_text("hello")
    files = [photos[0], str(bad), photos[1]]
    _, cards, why = teaching.change(ME, event("add", name="Class 1", files=files))
    assert counts(cards)["Class 1"].startswith("2 photos")
    assert "Added 2 of 3 photos: &lt;b&gt;.jpg" in why
    for posted, says in (
        (event("rename", name="Class 1", new="a/b"), "Expected a class name"),
        (event("rename", name="Class 1", new="class 2"), "exists already"),
        (event("remove_photo", name="Class 1", photo="../../x"), "a photo of this class"),
        (event("add", name="Class 1", files=["/etc/passwd"]), "Added 0 of 1 photos"),
        (event("add", name="Class 1", files=[""]), "a lost connection"),
        (event("add", name="nobody", files=photos[:1]), "one of your classes"),
        (event("add", name=["x"], files=photos[:1]), "one of your classes"),
        (gr.EventData(None, None), "Do this on the cards"),
        (event("explode"), "Do this on the cards"),
    ):
        _, after, why = teaching.change(ME, posted)
        assert says in why and after == cards
    monkeypatch.setattr("transfer.data.local.custom.MAX_PHOTOS", 3)
    why = teaching.change(ME, event("add", name="Class 1", files=photos))[2]
    assert f"Remove a class first. Added 1 of {len(photos)} photos: expected at most 3" in why
    monkeypatch.setattr(teaching.uploads.jobs.expiry, "limits", JobLimits(upload_bytes=1))
    why = teaching.change(ME, event("add", name="Class 1", files=photos))[2]
    assert "Remove a class" in why
    with pytest.raises(gr.Error, match="reload"):
        teaching.change("", event("new_class"))


def test_photos_of_other_things_are_a_visitor_s_own(teaching, photos):
    add = event("add", name="Other things", files=photos[:4])
    assert "4 photos, 1 more to train" in teaching.change_others(ME, add)[0]
    assert teaching.uploads.others_of(ME) is None
    card, _ = teaching.change_others(ME, event("add", name="Other things", files=photos[4:]))
    assert counts(card) == {"Other things": "6 photos"} and "Remove the class" not in card
    assert teaching.others_card(ME) == card and "0 photos" in teaching.others_card(OTHER)
    folder = teaching.uploads.others_of(ME)
    assert len(list(Path(folder).rglob("*.jpg"))) == 6 and teaching.uploads.others_of(OTHER) is None


def test_an_answer_is_corrected_by_its_photo(teaching, photos):
    for name, files in (("Class 1", photos[:2]), ("Class 2", photos[2:4])):
        teaching.change(ME, event("add", name=name, files=files))
    first = teaching.uploads.images(ME).by_class()["Class 1"][0]
    page = Page()
    page.asked = [Asked("your last photo", first)]
    _, cards, _ = teaching.correct(ME, page, "Class 2")
    assert [text[0] for text in counts(cards).values()] == ["1", "3"]  # it has moved
    page.asked = [Asked("new.png", Path(photos[4]))]
    _, cards, _ = teaching.correct(ME, page, "Class 1")
    assert [text[0] for text in counts(cards).values()] == ["2", "3"]  # it was added
    for shown, label, says in (
        (Page(), "Class 1", "Try one first"),
        (page, None, "one of your classes"),
        (page, "../x", "one of your classes"),
    ):
        _, after, why = teaching.correct(ME, shown, label)
        assert says in why and after == cards


def test_a_run_is_taught_more_on_cards_with_its_photos(jobs, photos):
    teaching = TeachHandlers(UploadHandlers(jobs))
    teaching.change(ME, event("add", name="Class 1", files=photos))
    _, cards, why = teaching.teach_more(ME, gr.EventData(None, {"run": "tiny"}))
    assert [*counts(cards)] == list(CLASSES) and "warning" not in why
    assert min(teaching.uploads.images(ME).counts().values()) >= 5
    assert "Class 1" in teaching.change(ME, event("undo"))[1]  # what was there comes back
    assert (
        "no such finished run" in teaching.teach_more(ME, gr.EventData(None, {"run": "../tiny"}))[2]
    )
