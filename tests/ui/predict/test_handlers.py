import asyncio
import base64
import csv
import io
import re
import threading
from dataclasses import replace
from html import escape, unescape
from pathlib import Path

import gradio as gr
import pytest
from anyio import CapacityLimiter
from PIL import Image, ImageDraw

from tests.tiny import CLASSES, picture
from tests.tiny_timm import files_of
from tests.ui.visitors import ME, OTHER, teach
from transfer import load
from transfer.data.image import load_image
from transfer.data.local.digits import as_digit
from transfer.formatting import score_text
from transfer.runs.run import FAMILIARITY
from transfer.ui.data.uploads import UploadHandlers
from transfer.ui.predict import cards
from transfer.ui.predict.answering import SIMILAR, Answering
from transfer.ui.predict.handlers import LAST_PHOTO, MOST_CARDS, PredictHandlers
from transfer.ui.predict.latest import Page
from transfer.ui.predict.pictures import MOST_CHARACTERS
from transfer.ui.shared.images import data_url
from transfer.ui.shared.live_runs import LIVE
from transfer.ui.shared.loaded_runs import DIGITS, EXAMPLE, LoadedRuns, _classifier

TINY = (ME, "tiny", "predictions", "")
MOST_SECONDS = 60


@pytest.fixture
def handlers(jobs) -> PredictHandlers:
    return PredictHandlers(LoadedRuns(jobs, shared=False))


@pytest.fixture
def page() -> Page:
    return Page()


def last(shown):
    """What a generator shows in the end."""
    return list(shown)[-1]


async def steps(answers) -> list[str]:
    return [html async for html in answers if isinstance(html, str)]


def seen(answers) -> list[str]:
    """What is shown of the answers to a question, one after the other."""
    return asyncio.run(asyncio.wait_for(steps(answers), MOST_SECONDS))


def shown(answers) -> str:
    """What is shown of them in the end."""
    return seen(answers)[-1]


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


def test_a_photo_gets_the_scores_that_python_gives(handlers, page, runs_folder, photo):
    html = shown(handlers.ask_files(page, *TINY, [str(photo)]))
    by_page = dict(re.findall(r'title="(.*?)".*?class="n">(.*?)<', html))
    found = load(runs_folder / "tiny").classify(photo)
    by_python = {prediction.label: score_text(prediction.score) for prediction in found}
    assert {name: unescape(value) for name, value in by_page.items()} == by_python
    assert score_text(found[0].score) in html


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_what_the_page_draws_and_sees_is_checked(handlers, page, kind):
    ask = {"jpeg": handlers.ask_photo, "png": handlers.ask_drawing}[kind]
    good = posted(seven(), kind)
    assert 'class="verdict' in shown(ask(page, *TINY, good)) and page.asked[0].answer
    if kind == "png":
        assert shown(ask(page, *TINY, "")) == cards.EMPTY and page.asked == []
    else:  # from a camera that is no longer looked at: nothing changes
        assert 'class="verdict' in shown(ask(page, *TINY, "")) and page.asked
    other = posted(seven(), {"jpeg": "png", "png": "jpeg"}[kind])
    disguised = good[: good.index(",") + 1] + other.partition(",")[2]
    cut = good[: good.index(",") + 101]
    for bad in (other, disguised, cut, good[:-3] + "***", good + "A" * MOST_CHARACTERS, ["x"], 7):
        assert 'class="warning"' in shown(ask(page, *TINY, bad))
        assert not any(each.answer for each in page.asked)


def test_a_file_that_is_not_a_picture_gets_a_message_among_the_others(handlers, page, tmp_path):
    for number in range(2):
        picture(number, 0).save(tmp_path / f"{number}.png")
    (tmp_path / "text.jpg").write_text("hello")
    files = [str(tmp_path / name) for name in ("0.png", "text.jpg", "1.png")]
    found = articles(shown(handlers.ask_files(page, *TINY, files)))
    assert [card.count('class="best"') for card in found] == [1, 0, 1]
    assert "text.jpg" in found[1] and "image" in found[1]
    assert str(tmp_path) not in "".join(found)


def test_many_pictures_are_a_table_that_can_be_saved(handlers, page, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("transfer.ui.predict.handlers.SECONDS_BETWEEN_UPDATES", 0.0)
    monkeypatch.setattr("transfer.ui.predict.handlers.SHARE_BETWEEN_UPDATES", 0.0)
    monkeypatch.setattr("transfer.ui.predict.handlers.MOST_PICTURES", MOST_CARDS + 2)
    (tmp_path / "text.jpg").write_text("hello")
    files = [str(photo), str(tmp_path / "text.jpg"), *[str(photo)] * (MOST_CARDS + 1)]
    htmls = seen(handlers.ask_files(page, *TINY, files))
    assert [len(articles(html)) for html in htmls] == [*range(1, MOST_CARDS + 1), *[MOST_CARDS] * 2]
    assert {html.count("<tr>") for html in htmls} == {1 + MOST_CARDS + 2}
    assert f"2 of {MOST_CARDS + 2} pictures" in htmls[1] and "1 more pictures" in htmls[-1]
    shown(handlers.ask_files(page, *TINY, files[:2]))
    table = shown(handlers.again(page, *TINY[:2], "table", ""))
    assert table.count("<tr>") == 3 and articles(table) == []
    saved = Path(handlers.save(ME, page)).read_text("utf-8")
    first, second = csv.DictReader(saved.splitlines())
    assert first["path"] == "photo.png" and f"{float(first['score_1']):.1%}" in table
    assert second["label_1"] == "" and "not an image" in second["error"]
    for visitor, nothing in ((ME, Page()), ("", page)):
        with pytest.raises(gr.Error):
            handlers.save(visitor, nothing)


def test_only_runs_on_the_digits_get_a_drawing_in_their_form(handlers, page, runs_folder):
    inputs = [handlers.input_tab(ME, run).selected for run in (DIGITS, "tiny", None)]
    assert inputs == ["draw", "photos", "photos"]
    html = shown(handlers.ask_drawing(page, *TINY, posted(seven(), "png")))
    expected = load(runs_folder / "tiny").classify(seven())
    assert f'class="n">{escape(score_text(expected[0].score))}' in html
    html = shown(handlers.again(page, ME, DIGITS, "predictions", ""))
    assert page.asked[0].answer.predictions[0].score > 0.8
    assert (
        'class="best"><span class="name" title="7"' in html
        and data_url(load_image(as_digit(seven())), cards.SMALL) in html
    )


def test_the_same_pictures_are_shown_in_every_view(handlers, page, photo):
    shown(handlers.ask_files(page, *TINY, [str(photo)]))
    assert page.asked[0].answer.predictions
    phases = shown(handlers.again(page, ME, "tiny", "phases", ""))
    assert phases.count('class="stage"') == 3
    heat = shown(handlers.again(page, ME, "tiny", "heat", CLASSES[1]))
    assert heat.count("<img") == 2 and f"evidence for {CLASSES[1]}" in heat and "legend" in heat
    wrong = shown(handlers.again(page, ME, "tiny", "heat", "waves"))
    assert "found &#x27;waves&#x27;" in wrong


def test_similar_photos_are_those_of_the_training_and_shown_to_their_owner(
    handlers, page, runs_folder, stripes
):
    same = stripes / "down" / "3.png"
    html = shown(handlers.ask_files(page, ME, "tiny", "similar", "", [str(same)]))
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    assert len(captions) == SIMILAR and html.count("<img") == 1 + SIMILAR
    assert captions.count("down") > SIMILAR / 2
    (runs_folder / "tiny" / FAMILIARITY).unlink()
    _classifier.cache_clear()
    without = shown(handlers.again(page, ME, "tiny", "similar", ""))
    assert "are not here" in without and without.count("<img") == 1


def test_a_shared_server_shows_runs_to_their_owner_alone(empty, page, photo):
    shared = PredictHandlers(LoadedRuns(empty, shared=True))
    html = shown(shared.ask_files(page, OTHER, "tiny", "phases", "", [str(photo)]))
    assert "no such finished run" in html and "<img" not in html


@pytest.mark.parametrize("run", [None, "  ", "../tiny"])
def test_an_unknown_run_is_a_message(handlers, page, photo, run, hub):
    html = shown(handlers.ask_files(page, ME, run, "predictions", "", [str(photo)]))
    assert 'class="warning"' in html
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


def test_classes_that_are_taught_answer_about_their_last_photo_or_another(
    handlers, page, tmp_path, monkeypatch
):
    uploads = UploadHandlers(handlers.runs.jobs)
    paths = [tmp_path / f"{kind}.png" for kind in range(2)]
    for kind, path in enumerate(paths):
        picture(kind, 0).save(path)
    teach(uploads, rows=[paths[0]] * 2)
    assert "choices" not in handlers.taught(ME)  # one class cannot answer
    teach(uploads, columns=[paths[1]] * 2)
    live = (ME, handlers.taught(ME).value, "predictions", "")
    other = Page()
    monkeypatch.setattr("transfer.ui.predict.handlers.SECONDS_BETWEEN_UPDATES", 0.0)
    *preparing, html = seen(handlers.again(page, *live))
    assert re.findall(r"<p>(\d of 4)</p>", "".join(preparing)) == ["0 of 4", "4 of 4"]
    assert LAST_PHOTO in html and "Probably columns" in html
    html = shown(handlers.ask_files(other, *live, [str(paths[0])]))
    assert "0.png" in html and "Probably rows" in html
    teach(uploads, spots=[paths[0]])
    assert "0.png" in shown(handlers.again(other, *live))
    assert shown(handlers.again(page, *live)) and page.asked[0].picture.parent.name == "spots"
    assert LIVE not in [name for _, name in handlers.runs.choices(OTHER)]
    assert [name for name, _ in handlers.corrections(ME, LIVE)[1].choices] == [
        "rows",
        "columns",
        "spots",
    ]
    assert not handlers.corrections(ME, "tiny")[0].visible


def test_an_example_is_answered_when_it_is_clicked(handlers, page):
    for run, names in ((EXAMPLE, ["a flower", "a temple"]), (DIGITS, list("012345"))):
        assert re.findall(r'alt="(.*?)"', handlers.examples(ME, run)) == names
        clicked = gr.EventData(None, {"place": 1})
        html = shown(handlers.ask_example(page, ME, run, "predictions", "", clicked))
        assert f"<h4>{names[1]}</h4>" in html and len(page.asked) == 1
    for posted in (None, {"place": 9}, {"place": "1"}, {"other": 1}):
        nothing = gr.EventData(None, posted)
        asked = handlers.ask_example(page, ME, DIGITS, "predictions", "", nothing)
        assert shown(asked) == cards.EMPTY and page.asked == []


def test_a_newer_question_ends_an_older_one(handlers, page, photo, monkeypatch):
    begun, go_on, read = threading.Event(), threading.Event(), []

    def picture_by_picture(self, asked, most_cards):
        for each in asked:
            read.append(each.name)
            yield replace(each, error="unreadable"), "", cards.row(each)
            begun.set()
            assert go_on.wait(MOST_SECONDS)

    monkeypatch.setattr(Answering, "answers", picture_by_picture)
    monkeypatch.setattr("transfer.ui.predict.handlers.SECONDS_BETWEEN_UPDATES", 0.0)
    monkeypatch.setattr("transfer.ui.predict.handlers.SHARE_BETWEEN_UPDATES", 0.0)

    async def ask() -> tuple:
        many = handlers.ask_files(page, *TINY, [str(photo)] * 9)
        late = asyncio.ensure_future(steps(many))
        await asyncio.to_thread(begun.wait, MOST_SECONDS)
        cleared = await steps(handlers.ask_files(page, *TINY, None))
        files = asyncio.ensure_future(steps(handlers.ask_files(page, *TINY, [str(photo)])))
        await asyncio.sleep(0)  # it has come, and has read nothing yet
        go_on.set()
        again = await steps(handlers.again(page, *TINY[:2], "table", ""))
        return await late, cleared, await files, again

    late, cleared, files, again = asyncio.run(asyncio.wait_for(ask(), MOST_SECONDS))
    assert len(late) == 1 and cleared == [cards.EMPTY]
    assert files == [] and "photo.png" in again[-1]
    assert len(read) == 3  # two of the nine, as a picture is answered to its end


def test_a_newer_answer_is_not_sent_before_the_older_one_has_been(page):
    async def ask():
        slots = CapacityLimiter(1)
        older = page.answer(iter([("", []), ("many pictures", [])]), slots)
        assert await anext(older) == "many pictures"
        newer = asyncio.ensure_future(anext(page.answer(iter([("none", [])]), slots)))
        await asyncio.sleep(0.05)
        assert not newer.done()  # gradio is still busy with the older one
        assert await anext(older) == gr.skip()
        assert await newer == "none"

    asyncio.run(asyncio.wait_for(ask(), MOST_SECONDS))
