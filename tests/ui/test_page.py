import asyncio
from pathlib import Path

import gradio as gr
import pytest
from gradio.utils import get_upload_folder

from tests.ui.conftest import SAYS_NOTHING
from transfer.jobs import JobManager
from transfer.ui.page import build_page
from transfer.ui.shared.guard import REFUSED

TOKEN = "hf_" + "s" * 34
FOLLOWING = ("then", "success", "failure")  # gradio calls each handler of these separately


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    jobs = JobManager(tmp_path_factory.mktemp("runs"), command=SAYS_NOTHING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        yield build_page(jobs, shared=False)
    jobs.close()


@pytest.fixture(scope="module")
def events(page):
    return list(page.fns.values())


def refusal(page: gr.Blocks, event, values: list) -> str:
    try:
        asyncio.run(page.preprocess_data(event, values, None))
    except gr.Error as error:
        return str(error)
    return ""


def posted(event, place: int, value) -> list:
    values = [None] * len(event.inputs)
    values[place] = value
    return values


def test_invalid_values_are_refused_without_being_repeated(page, events):
    refusals = {
        refusal(page, event, posted(event, place, value))
        for event in events
        for place, field in enumerate(event.inputs)
        for value in (TOKEN, {"a": TOKEN})
        if isinstance(field, gr.Radio | gr.Dropdown)
    }
    assert TOKEN not in str(refusals) and any(REFUSED in text for text in refusals)
    event = next(event for event in events if len(event.inputs) > 1 and event.fn)
    assert REFUSED in refusal(page, event, [TOKEN])
    value = deep = []
    for _ in range(5_000):
        deep.append([])
        deep = deep[0]
    assert REFUSED in refusal(page, event, [value] * len(event.inputs))


@pytest.mark.parametrize(
    "form",
    [
        lambda path: {"path": path},
        lambda path: {"path": path, "meta": {"_type": "gradio.FileData"}},
        lambda path: [{"path": path, "orig_name": "a.svg"}],
        lambda path: {"background": None, "layers": [], "composite": {"path": path}},
    ],
    ids=["unmarked", "marked", "in a list", "nested"],
)
@pytest.mark.parametrize("where", ["of the server", "nowhere", "on the web"])
def test_no_event_takes_a_file_that_was_not_uploaded(page, events, photo, form, where, tmp_path):
    paths = {"of the server": photo, "nowhere": tmp_path / "gone.png"}
    path = str(paths.get(where, "https://127.0.0.1:1/a.png"))
    for event in events:
        for place in range(len(event.inputs)):
            assert "uploaded here" in refusal(page, event, posted(event, place, form(path)))


def test_an_upload_is_taken(page, events, photo):
    event, place = next(
        (event, place)
        for event in events
        for place, field in enumerate(event.inputs)
        if isinstance(field, gr.Image) and field.type == "filepath"
    )
    photo = photo.rename(Path(get_upload_folder(), photo.name))
    values = [field.value for field in event.inputs]
    values[place] = {"path": str(photo), "meta": {"_type": "gradio.FileData"}}
    assert asyncio.run(page.preprocess_data(event, values, None))[place] == str(photo)


def test_at_most_one_handler_of_an_event_is_repeated(events):
    """Two would repeat each other without end."""
    repeated = [
        (target, name)
        for event in events
        for target, name in event.targets
        if event.trigger_mode == "always_last" and name not in FOLLOWING
    ]
    assert len(repeated) > 5
    assert len(repeated) == len(set(repeated))


def test_no_event_cancels_another_since_that_would_end_newer_requests_too(events):
    assert not any(event.cancels for event in events)


def test_the_server_opens_no_tab_and_takes_no_sketchpad(events):
    """The page would upload the sketchpad's pictures at each later event."""

    def served(fields: str, *kinds) -> list:
        return [e for e in events if e.fn and any(isinstance(f, kinds) for f in getattr(e, fields))]

    assert not served("outputs", gr.Tabs, gr.Sketchpad) and not served("inputs", gr.Sketchpad)
    assert any(isinstance(field, gr.Tabs) for event in events for field in event.outputs)
