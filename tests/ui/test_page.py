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
def fields(page):
    """(event, place, field) of each input."""
    events = page.fns.values()
    return [(event, place, field) for event in events for place, field in enumerate(event.inputs)]


def test_no_picture_is_refused_by_what_the_browser_takes_it_for(page):
    """It knows no kind for IMG_1.HEIC, .mpo, or a file without an ending."""
    files = [block for block in page.blocks.values() if isinstance(block, gr.File)]
    several = [block.file_types for block in files if block.file_count == "multiple"]
    assert several and not any(several)
    assert [".zip", ".ZIP"] in [block.file_types for block in files]


def refusal(page: gr.Blocks, event, place: int, value) -> str:
    values = [None] * len(event.inputs)
    values[place] = value
    try:
        asyncio.run(page.preprocess_data(event, values, None))
    except gr.Error as error:
        return str(error)
    return ""


def test_invalid_values_are_refused_without_being_repeated(page, fields):
    chosen = [found for found in fields if isinstance(found[2], gr.Radio | gr.Dropdown)]
    refusals = {refusal(page, event, place, TOKEN) for event, place, _ in chosen}
    assert TOKEN not in str(refusals) and any(REFUSED in text for text in refusals)
    event, place, _ = chosen[0]
    value = deep = []
    for _ in range(5_000):
        deep.append([])
        deep = deep[0]
    assert REFUSED in refusal(page, event, place, value)


def test_no_event_takes_a_file_that_was_not_uploaded(page, fields, photo):
    file, web = {"path": str(photo)}, {"path": "https://127.0.0.1:1/a.png"}
    marked, nested = file | {"meta": {"_type": "gradio.FileData"}}, {"layers": [{"a": file}]}
    for event, place, _ in fields:
        for posted in (file, web, marked, [file], nested):
            assert "uploaded here" in refusal(page, event, place, posted)


def test_an_upload_is_taken(page, fields, photo):
    files = [found for found in fields if isinstance(found[2], gr.File)]
    event, place, _ = next(found for found in files if found[2].file_count == "multiple")
    photo = photo.rename(Path(get_upload_folder(), photo.name))
    values = [field.value for field in event.inputs]
    values[place] = [{"path": str(photo), "meta": {"_type": "gradio.FileData"}}]
    assert asyncio.run(page.preprocess_data(event, values, None))[place] == [str(photo)]


def test_no_event_repeats_or_cancels_another(page):
    """Two repeated handlers of one event would repeat each other without end."""
    events = list(page.fns.values())
    repeated = [
        (target, name)
        for event in events
        for target, name in event.targets
        if event.trigger_mode == "always_last" and name not in FOLLOWING
    ]
    assert len(repeated) == len(set(repeated)) > 5
    assert not any(event.cancels for event in events)  # a newer request would end too
