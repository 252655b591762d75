import re

import gradio as gr
import pytest
from PIL import Image, ImageDraw

from tests.tiny import CLASSES, picture
from tests.tiny_timm import files_of
from tests.ui.visitors import ME, OTHER
from transfer import load
from transfer.ui.predict import cards as show
from transfer.ui.predict.handlers import PICTURES_AT_ONCE, VIEWS, PredictHandlers
from transfer.ui.shared.loaded_runs import EXAMPLE, LoadedRuns

TINY = (ME, "tiny", "answers", "")


@pytest.fixture
def trying(jobs) -> PredictHandlers:
    return PredictHandlers(LoadedRuns(jobs, shared=False))


def last(shown) -> tuple[str, list]:
    """(HTML, asked) as they stand in the end."""
    return list(shown)[-1]


def told(trying, *who) -> tuple:
    """(about a run, its classes) as they stand in the end."""
    return list(trying.chosen(*who))[-1]


def cards(page: str) -> list[str]:
    return re.findall(r"<article.*?</article>", page, flags=re.DOTALL)


def seven() -> Image.Image:
    canvas = Image.new("RGB", (280, 280), "white")
    ImageDraw.Draw(canvas).line((74, 52, 206, 52, 118, 239), fill="black", width=36, joint="curve")
    return canvas


def test_a_photo_gets_the_scores_that_python_gives(trying, runs_folder, photo):
    page, _ = last(trying.photos(*TINY, [str(photo)]))
    by_page = dict(re.findall(r'title="(.*?)".*?class="n">(.*?)<', page))
    by_python = {p.label: show.percent(p.score) for p in load(runs_folder / "tiny").classify(photo)}
    assert {name: value.replace("&lt;", "<") for name, value in by_page.items()} == by_python


def test_each_of_several_pictures_gets_its_answer_and_what_is_none_its_sentence(trying, tmp_path):
    for number in range(3):
        picture(number, 0).save(tmp_path / f"{number}.png")
    (tmp_path / "text.jpg").write_text("hello")
    files = [str(tmp_path / name) for name in ("0.png", "text.jpg", "1.png", "2.png")]
    found = cards(last(trying.photos(*TINY, files))[0])
    assert [card.count('class="best"') for card in found] == [1, 0, 1, 1]
    assert "text.jpg" in found[1] and "this is no image" in found[1]
    assert str(tmp_path) not in "".join(found)


def test_a_photo_that_lies_on_its_side_is_shown_and_judged_upright(trying, tmp_path):
    """Turned once, as EXIF says, not twice."""
    exif = Image.Exif()
    exif[274] = 6
    picture(0, 0).save(tmp_path / "turned.png", exif=exif)
    picture(0, 0).transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png")
    turned, upright = (
        cards(last(trying.photos(*TINY, [str(tmp_path / name)]))[0])[0].replace(name, "")
        for name in ("turned.png", "upright.png")
    )
    assert turned == upright


def test_answers_appear_while_others_are_still_awaited(trying, photo, monkeypatch):
    monkeypatch.setattr("transfer.ui.predict.handlers.SECONDS_BETWEEN_UPDATES", 0.0)
    pages = [page for page, _ in trying.photos(*TINY, [str(photo)] * 3)]
    assert [len(cards(page)) for page in pages] == [1, 2, 3, 3]
    assert "2 of 3 pictures" in pages[1] and "of 3" not in pages[-1]


def test_too_many_pictures_are_told(trying, photo):
    page, _ = last(trying.photos(*TINY, [str(photo)] * (PICTURES_AT_ONCE + 2)))
    assert len(cards(page)) == PICTURES_AT_ONCE
    assert f"2 more: at most {PICTURES_AT_ONCE} at once" in page


@pytest.mark.parametrize("nothing", [None, []])
def test_no_picture_no_answer(trying, nothing):
    assert last(trying.photos(*TINY, nothing)) == (show.EMPTY, [])
    assert last(trying.camera(*TINY, None)) == (show.EMPTY, [])


def test_a_picture_of_the_camera_is_classified(trying, photo):
    page, asked = last(trying.camera(*TINY, str(photo)))
    assert len(cards(page)) == 1 and len(asked) == 1


def test_a_drawn_seven_is_one_by_the_example(trying):
    page, _ = last(trying.drawing(ME, EXAMPLE, "answers", "", seven()))
    assert re.findall(r'class="best".*?title="(.*?)"', page) == ["7"]


@pytest.mark.parametrize("drawing", [None, Image.new("RGB", (9, 9), "white")])
def test_an_empty_canvas_is_a_sentence(trying, drawing):
    page, asked = last(trying.drawing(ME, EXAMPLE, "answers", "", drawing))
    assert 'class="warning"' in page and asked == []


def test_a_drawing_is_in_the_form_of_the_digits_for_runs_on_them_alone(trying, runs_folder):
    tiny, asked = last(trying.drawing(*TINY, seven()))
    expected = load(runs_folder / "tiny").classify(seven())
    assert f'class="n">{show.percent(expected[0].score)}' in tiny
    page, _ = last(trying.again(ME, EXAMPLE, "answers", "", asked))
    assert re.findall(r'class="best".*?title="(.*?)"', page) == ["7"]
    again, _ = last(trying.again(*TINY, asked))
    assert again == tiny


def test_what_was_asked_is_shown_in_another_view_and_by_another_run(trying, photo):
    _, asked = last(trying.photos(*TINY, [str(photo)]))
    heat, _ = last(trying.again(ME, "tiny", "heat", "", asked))
    assert heat.count("<img") == 2 and "legend" in heat
    stages, _ = last(trying.again(ME, "tiny", "stages", "", asked))
    assert stages.count('class="stage"') == 3
    other, _ = last(trying.again(ME, EXAMPLE, "answers", "", asked))
    assert len(re.findall("<li", other)) == 5
    assert last(trying.again(ME, "tiny", "heat", "", [])) == (show.EMPTY, [])


def test_a_heat_map_is_for_the_class_that_was_chosen(trying, photo):
    for label in CLASSES:
        page, _ = last(trying.photos(ME, "tiny", "heat", label, [str(photo)]))
        assert f"for {label}" in page
    page, asked = last(trying.photos(ME, "tiny", "heat", "waves", [str(photo)]))
    assert "found &#x27;waves&#x27;" in page and len(asked) == 1


@pytest.mark.parametrize("view", VIEWS)
def test_a_shared_server_keeps_runs_to_their_owner(jobs, photo, view, monkeypatch):
    monkeypatch.setattr(jobs, "runs_of", lambda owner: [])
    shared = PredictHandlers(LoadedRuns(jobs, shared=True))
    page, _ = last(shared.photos(OTHER, "tiny", view, "", [str(photo)]))
    assert "of yours" in page and "<img" not in page


@pytest.mark.parametrize("run", [None, "", "  ", ["tiny"], "../tiny"])
def test_what_is_no_run_is_a_sentence(trying, photo, run, hub):
    page, _ = last(trying.photos(ME, run, "answers", "", [str(photo)]))
    assert 'class="warning"' in page
    about, _ = told(trying, ME, run)
    assert 'class="about warning"' in about


def test_runs_are_listed_and_what_is_chosen_is_not_written_again(trying):
    for run in (EXAMPLE, "tiny", "user/name"):
        found = trying.listed(ME, run)
        assert [name for _, name in found.choices] == ["tiny", EXAMPLE]
        assert "value" not in found.constructor_args
    assert trying.listed(ME, "gone").value == "tiny"


def test_at_first_the_newest_run_is_chosen_unless_a_visitor_was_quicker(trying):
    assert trying.newest(ME, EXAMPLE, []) == ([EXAMPLE, "tiny"], ["tiny", EXAMPLE])
    for run in ("typed", "user/name", None):
        assert trying.newest(ME, run, [])[0] == [run, run]


def test_later_a_run_is_chosen_once_when_it_has_come(trying):
    assert trying.newest(ME, "older", ["older", EXAMPLE])[0] == ["older", "tiny"]
    for run, seen in (("older", ["tiny", "older"]), (EXAMPLE, ["tiny"]), ("user/name", ["older"])):
        assert trying.newest(ME, run, seen)[0] == [run, run]


def test_a_run_says_what_it_is_and_offers_its_classes(trying):
    about, labels = told(trying, ME, "tiny")
    assert "3 classes" in about and "right" in about
    assert [name for _, name in labels.choices] == ["", *CLASSES]


def test_very_many_classes_are_not_all_offered(trying, monkeypatch):
    names = tuple(f"class {number}" for number in range(10_000))
    monkeypatch.setattr(PredictHandlers, "_about", lambda *_: ("10,000 classes", names))
    assert len(told(trying, ME, "tiny")[1].choices) == 101


def test_a_model_on_the_hub_says_what_it_is(trying, runs_folder, hub):
    hub.add("models", "ann/told", files_of(runs_folder / "tiny"))
    assert "Opening ann/told" in next(trying.chosen(ME, "ann/told"))[0]
    about, labels = told(trying, ME, "ann/told")
    assert "on the Hub with 3 classes" in about and len(labels.choices) == 4
    assert 'class="about warning"' in told(trying, ME, "ann/not-there")[0]


def test_one_draws_for_the_digits_and_shows_photos_to_others(trying):
    assert trying.way_in(ME, EXAMPLE) == "draw"
    assert trying.way_in(ME, "tiny") == "photos"
    assert trying.way_in(ME, None) == "photos"


def test_a_run_is_warm_before_the_first_picture_and_a_bad_name_is_no_matter(trying):
    trying.warm(ME, "tiny")
    trying.warm(ME, "gone")
    trying.warm(ME, None)


def test_the_tab_can_be_built(trying):
    from transfer.ui.predict.tab import try_tab

    with gr.Blocks() as page, gr.Tab("Try it") as tab:
        visitor = gr.BrowserState("")
        try_tab(trying, visitor, page.load(None, visitor, visitor), gr.HTML(), tab)
    assert page.fns
