import asyncio

import gradio as gr
import pytest

from transfer.ui.discreet import REFUSED
from transfer.ui.page import build_page

TOKEN = "hf_" + "s" * 34


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    from transfer.jobs import Jobs

    jobs = Jobs(tmp_path_factory.mktemp("runs"), command=("sleep", "60"))
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


def test_a_run_chosen_by_hand_stops_the_one_that_is_being_chosen_for_the_visitor(page):
    newest = {event._id for event in page.fns.values() if event.name == "newest"}
    stopped = [set(event.cancels) for event in page.fns.values() if event.cancels]
    assert len(newest) == 2 and newest in stopped
