import base64
import csv
import io
import re
from html import escape, unescape
from pathlib import Path

import gradio as gr
import pytest
from PIL import Image, ImageDraw

from tests.tiny import CLASSES, picture
from tests.tiny_timm import files_of
from tests.ui.visitors import ME, OTHER, teach
from transfer import load
from transfer.data.image import load_image
from transfer.data.local.digits import as_digit
from transfer.runs.run import FAMILIARITY
from transfer.ui.data.uploads import UploadHandlers
from transfer.ui.predict import cards
from transfer.ui.predict.answering import SIMILAR
from transfer.ui.predict.handlers import LAST_PHOTO, MOST_CARDS, PredictHandlers
from transfer.ui.predict.pictures import MOST_CHARACTERS
from transfer.ui.shared.images import data_url
from transfer.ui.shared.live_runs import LIVE
from transfer.ui.shared.loaded_runs import DIGITS, EXAMPLE, LoadedRuns, _classifier

TINY = (ME, "tiny", "predictions", "")


@pytest.fixture
def handlers(jobs) -> PredictHandlers:
    return PredictHandlers(LoadedRuns(jobs, shared=False))


def last(shown):
    """What a generator shows in the end."""
    return list(shown)[-1]


def articles(page: str) -> list[str]:
    return re.findall(r"<article.*?</article>", page, flags=re.DOTALL)


def posted(picture: Image.Image, kind: str) -> str:
    """As the page's scripts send it."""
    file = io.BytesIO()
    picture.save(file, kind)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def seven() -> Image.Image:
    """Without a bar, which most of the digits' sevens have."""
    canvas = Image.new("RGB", (280, 280), "white")
    ImageDraw.Draw(canvas).line((76, 48, 207, 42, 134, 238), fill="black", width=20, joint="curve")
    return canvas


def test_a_photo_gets_the_scores_that_python_gives(handlers, runs_folder, photo):
    page, _ = last(handlers.ask_files(*TINY, [str(photo)]))
    by_page = dict(re.findall(r'title="(.*?)".*?class="n">(.*?)<', page))
    found = load(runs_folder / "tiny").classify(photo)
    by_python = {prediction.label: cards.percent(prediction.score) for prediction in found}
    assert {name: unescape(value) for name, value in by_page.items()} == by_python
    assert cards.percent(found[0].score) in page


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_what_the_page_draws_and_sees_is_checked(handlers, kind):
    ask = {"jpeg": handlers.ask_photo, "png": handlers.ask_drawing}[kind]
    good = posted(seven(), kind)
    page, asked = last(ask(*TINY, good))
    assert 'class="verdict' in page and asked[0].answer
    assert last(ask(*TINY, "")) == (cards.EMPTY, [])
    other = posted(seven(), {"jpeg": "png", "png": "jpeg"}[kind])
    disguised = good[: good.index(",") + 1] + other.partition(",")[2]
    cut = good[: good.index(",") + 101]
    for bad in (other, disguised, cut, good[:-3] + "***", good + "A" * MOST_CHARACTERS, ["x"], 7):
        page, asked = last(ask(*TINY, bad))
        assert 'class="warning"' in page and not any(each.answer for each in asked)


def test_a_file_that_is_not_a_picture_gets_a_message_among_the_others(handlers, tmp_path):
    for number in range(2):
        picture(number, 0).save(tmp_path / f"{number}.png")
    (tmp_path / "text.jpg").write_text("hello")
    files = [str(tmp_path / name) for name in ("0.png", "text.jpg", "1.png")]
    found = articles(last(handlers.ask_files(*TINY, files))[0])
    assert [card.count('class="best"') for card in found] == [1, 0, 1]
    assert "text.jpg" in found[1] and "image" in found[1]
    assert str(tmp_path) not in "".join(found)


def test_many_pictures_are_a_table_that_can_be_saved(handlers, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("transfer.ui.predict.handlers.SECONDS_BETWEEN_UPDATES", 0.0)
    monkeypatch.setattr("transfer.ui.predict.handlers.SHARE_BETWEEN_UPDATES", 0.0)
    monkeypatch.setattr("transfer.ui.predict.handlers.MOST_PICTURES", MOST_CARDS + 2)
    (tmp_path / "text.jpg").write_text("hello")
    files = [str(photo), str(tmp_path / "text.jpg"), *[str(photo)] * (MOST_CARDS + 1)]
    pages = [page for page, _ in handlers.ask_files(*TINY, files)]
    assert [len(articles(page)) for page in pages] == [*range(1, MOST_CARDS + 1), *[MOST_CARDS] * 2]
    assert {page.count("<tr>") for page in pages} == {1 + MOST_CARDS + 2}
    assert f"2 of {MOST_CARDS + 2} pictures" in pages[1] and "1 more pictures" in pages[-1]
    _, asked = last(handlers.ask_files(*TINY, files[:2]))
    table, asked = last(handlers.again(*TINY[:2], "table", "", asked))
    assert table.count("<tr>") == 3 and articles(table) == []
    saved = Path(handlers.save(ME, asked)).read_text("utf-8")
    first, second = csv.DictReader(saved.splitlines())
    assert first["path"] == "photo.png" and f"{float(first['score_1']):.1%}" in table
    assert second["label_1"] == "" and "not an image" in second["error"]
    for visitor, nothing in ((ME, []), ("", asked)):
        with pytest.raises(gr.Error):
            handlers.save(visitor, nothing)


def test_only_runs_on_the_digits_get_a_drawing_in_the_form_of_the_digits(handlers, runs_folder):
    inputs = [handlers.input_tab(ME, run).selected for run in (DIGITS, "tiny", None)]
    assert inputs == ["draw", "photos", "photos"]
    page, asked = last(handlers.ask_drawing(*TINY, posted(seven(), "png")))
    expected = load(runs_folder / "tiny").classify(seven())
    assert f'class="n">{escape(cards.percent(expected[0].score))}' in page
    page, (answered,) = last(handlers.again(ME, DIGITS, "predictions", "", asked))
    assert answered.answer.predictions[0].score > 0.8
    assert (
        'class="best"><span class="name" title="7"' in page
        and data_url(load_image(as_digit(seven())), cards.SMALL) in page
    )


def test_the_same_pictures_are_shown_in_every_view(handlers, photo):
    _, asked = last(handlers.ask_files(*TINY, [str(photo)]))
    assert asked[0].answer.predictions
    phases, _ = last(handlers.again(ME, "tiny", "phases", "", asked))
    assert phases.count('class="stage"') == 3
    heat, _ = last(handlers.again(ME, "tiny", "heat", CLASSES[1], asked))
    assert heat.count("<img") == 2 and f"evidence for {CLASSES[1]}" in heat and "legend" in heat
    wrong, _ = last(handlers.again(ME, "tiny", "heat", "waves", asked))
    assert "found &#x27;waves&#x27;" in wrong


def test_similar_photos_are_those_of_the_training_and_shown_to_their_owner(
    handlers, runs_folder, stripes
):
    same = stripes / "down" / "3.png"
    page, asked = last(handlers.ask_files(ME, "tiny", "similar", "", [str(same)]))
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert len(captions) == SIMILAR and page.count("<img") == 1 + SIMILAR
    assert captions.count("down") > SIMILAR / 2
    (runs_folder / "tiny" / FAMILIARITY).unlink()
    _classifier.cache_clear()
    without, _ = last(handlers.again(ME, "tiny", "similar", "", asked))
    assert "are not here" in without and without.count("<img") == 1


def test_a_shared_server_shows_runs_to_their_owner_alone(empty, photo):
    shared = PredictHandlers(LoadedRuns(empty, shared=True))
    page, _ = last(shared.ask_files(OTHER, "tiny", "phases", "", [str(photo)]))
    assert "no such finished run" in page and "<img" not in page


@pytest.mark.parametrize("run", [None, "  ", "../tiny"])
def test_an_unknown_run_is_a_message(handlers, photo, run, hub):
    page, _ = last(handlers.ask_files(ME, run, "predictions", "", [str(photo)]))
    assert 'class="warning"' in page
    assert 'class="about warning"' in last(handlers.describe(ME, run))[0]
    handlers.preload(ME, run)


def test_the_newest_run_is_selected_once_unless_the_visitor_chose_another(handlers):
    assert handlers.newest(ME, EXAMPLE, []) == ([EXAMPLE, "tiny"], ["tiny", EXAMPLE, DIGITS])
    for run in ("typed", "user/name", None):
        assert handlers.newest(ME, run, [])[0] == [run, run]
    assert handlers.newest(ME, "older", ["older", EXAMPLE, DIGITS])[0] == ["older", "tiny"]


def test_runs_and_models_on_the_hub_are_described_with_their_classes(handlers, runs_folder, hub):
    about, labels = last(handlers.describe(ME, "tiny"))
    assert re.search(r"3 classes; \d+ of \d+ test images right\.", about)
    assert "test accuracy 98.3%" in last(handlers.describe(ME, DIGITS))[0]
    assert [name for _, name in labels.choices] == ["", *CLASSES]
    hub.add("models", "ann/stripes", files_of(runs_folder / "tiny"))
    assert len(last(handlers.describe(ME, "ann/stripes"))[1].choices) == 4


def test_classes_that_are_taught_answer_about_their_last_photo_or_another(handlers, tmp_path):
    uploads = UploadHandlers(handlers.runs.jobs)
    paths = [tmp_path / f"{kind}.png" for kind in range(2)]
    for kind, path in enumerate(paths):
        picture(kind, 0).save(path)
    teach(uploads, rows=[paths[0]] * 2)
    assert "choices" not in handlers.taught(ME)  # one class cannot answer
    teach(uploads, columns=[paths[1]] * 2)
    live = (ME, handlers.taught(ME).value, "predictions", "")
    page, asked = last(handlers.again(*live, []))
    assert LAST_PHOTO in page and "Probably columns" in page
    page, other = last(handlers.ask_files(*live, [str(paths[0])]))
    assert "0.png" in page and "Probably rows" in page
    teach(uploads, spots=[paths[0]])
    assert last(handlers.again(*live, other))[1][0].name == "0.png"
    assert last(handlers.again(*live, asked))[1][0].picture.parent.name == "spots"
    assert LIVE not in [name for _, name in handlers.runs.choices(OTHER)]
    assert [name for name, _ in handlers.corrections(ME, LIVE)[1].choices] == [
        "rows",
        "columns",
        "spots",
    ]
    assert not handlers.corrections(ME, "tiny")[0].visible


def test_an_example_is_answered_when_it_is_clicked(handlers):
    for run, names in ((EXAMPLE, ["a flower", "a temple"]), (DIGITS, list("012345"))):
        assert re.findall(r'alt="(.*?)"', handlers.examples(ME, run)) == names
        clicked = gr.EventData(None, {"place": 1})
        page, asked = last(handlers.ask_example(ME, run, "predictions", "", clicked))
        assert f"<h4>{names[1]}</h4>" in page and len(asked) == 1
    for posted in (None, {"place": 9}, {"place": "1"}, {"other": 1}):
        nothing = gr.EventData(None, posted)
        assert last(handlers.ask_example(ME, DIGITS, "predictions", "", nothing))[1] == []
