import asyncio
from pathlib import Path

import gradio as gr
import pytest
from gradio.utils import get_upload_folder

from transfer.ui.page import build_page
from transfer.ui.shared.guard import REFUSED

TOKEN = "hf_" + "s" * 34
ADDRESS = "https://127.0.0.1:1/a.png"
FOLLOWING = ("then", "success", "failure")  # each is called by itself


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    from transfer.jobs import JobManager

    jobs = JobManager(tmp_path_factory.mktemp("runs"), command=("sleep", "60"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        yield build_page(jobs, shared=False)
    jobs.close()


def refusal(page: gr.Blocks, event, values: list) -> str:
    try:
        asyncio.run(page.preprocess_data(event, values, None))
    except gr.Error as error:
        return str(error)
    return ""


@pytest.mark.parametrize("value", [TOKEN, [TOKEN], {"a": TOKEN}], ids=["text", "list", "object"])
def test_what_is_no_choice_is_refused_without_being_repeated(page, value):
    refusals = set()
    for event in page.fns.values():
        for place, field in enumerate(event.inputs):
            if isinstance(field, gr.Radio | gr.Dropdown):
                values = [None] * len(event.inputs)
                values[place] = value
                refusals.add(refusal(page, event, values))
    assert TOKEN not in str(refusals)
    assert any(REFUSED in told for told in refusals)


def test_values_that_are_too_few_are_refused_without_being_repeated(page):
    event = next(event for event in page.fns.values() if len(event.inputs) > 1 and event.fn)
    assert REFUSED in refusal(page, event, [TOKEN])


@pytest.mark.parametrize(
    "form",
    [
        lambda path: {"path": path},
        lambda path: {"path": path, "meta": {}},
        lambda path: {"path": path, "meta": {"_type": "gradio.FileData"}},
        lambda path: {"path": path, "orig_name": "a.svg"},
        lambda path: [{"path": path}],
        lambda path: {"background": None, "layers": [], "composite": {"path": path}},
    ],
    ids=["bare", "no mark", "marked", "as svg", "in a list", "within another"],
)
@pytest.mark.parametrize("where", ["of the server", "nowhere", "on the web"])
def test_no_event_takes_a_file_that_was_not_uploaded(page, photo, form, where, tmp_path):
    paths = {"of the server": photo, "nowhere": tmp_path / "gone.png", "on the web": ADDRESS}
    for event in page.fns.values():
        for place in range(len(event.inputs)):
            values = [None] * len(event.inputs)
            values[place] = form(str(paths[where]))
            assert "uploaded here" in refusal(page, event, values)


def test_what_was_uploaded_is_taken(page, photo):
    event, place = next(
        (event, n)
        for event in page.fns.values()
        for n, field in enumerate(event.inputs)
        if isinstance(field, gr.Image) and field.type == "filepath"
    )
    photo = photo.rename(Path(get_upload_folder(), photo.name))
    values = [field.value for field in event.inputs]
    values[place] = {"path": str(photo), "meta": {"_type": "gradio.FileData"}}
    assert asyncio.run(page.preprocess_data(event, values, None))[place] == str(photo)


def test_what_lies_too_deep_is_refused(page):
    value = deep = []
    for _ in range(5_000):
        deep.append([])
        deep = deep[0]
    event = next(event for event in page.fns.values() if event.inputs and event.fn)
    assert REFUSED in refusal(page, event, [value] * len(event.inputs))


def test_nothing_is_cancelled_for_the_server_would_end_what_was_asked_since(page):
    assert not any(event.cancels for event in page.fns.values())


def test_of_the_handlers_of_an_event_at_most_one_is_called_again_when_it_was_late(page):
    late = [
        (target, name)
        for event in page.fns.values()
        for target, name in event.targets
        if event.trigger_mode == "always_last" and name not in FOLLOWING
    ]
    assert len(late) > 5
    assert sorted(late) == sorted(set(late))


def test_no_tabs_are_turned_by_the_server_for_what_lies_in_them_would_be_sent_there(page):
    turned = {
        event.name
        for event in page.fns.values()
        if any(isinstance(field, gr.Tabs) for field in event.outputs)
    }
    served = {
        event.name
        for event in page.fns.values()
        if event.fn and any(isinstance(field, gr.Tabs | gr.Sketchpad) for field in event.outputs)
    }
    asked = {
        event.name
        for event in page.fns.values()
        if event.fn and any(isinstance(field, gr.Sketchpad) for field in event.inputs)
    }
    assert turned and not served and not asked
