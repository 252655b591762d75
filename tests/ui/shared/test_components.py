import gradio as gr

from tests.ui.visitors import ME
from transfer.errors import JobError
from transfer.ui.shared.components import advice_first, beside, note
from transfer.ui.shared.session import as_message


def test_an_error_begins_with_what_to_do():
    assert advice_first("expected a, found b; choose c") == "Choose c. Expected a, found b."
    assert advice_first("a: 1; b: 2; do c") == "Do c. A: 1; b: 2."
    assert advice_first("No file.") == "No file."


@as_message()
def refuse(visitor: str, bad: bool):
    if bad:
        raise JobError("expected <b>; type one")
    return "shown", "too"


def test_what_is_refused_changes_only_the_note_beside_it():
    with gr.Blocks() as page:
        fields = [gr.Textbox(), gr.Textbox()]
        beside(note(), gr.Button().click, refuse, fields, fields)
    (event,) = page.fns.values()
    *shown, said = event.fn(ME, True)
    assert shown == [gr.skip()] * 2 and "Type one. Expected &lt;b&gt;." in said
    *shown, said = event.fn(ME, False)
    assert shown == ["shown", "too"] and "warning" not in said
