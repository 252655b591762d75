"""The Publish tab: a finished run as a repository on the Hub, or as a zip of the same files."""

import os

import gradio as gr

from transfer.publishing.bundle import WHATS
from transfer.ui import publish_words as words
from transfer.ui.fetch import fetches
from transfer.ui.publishing import LABELS, LICENCES, Publishing
from transfer.ui.visitor import PRIVATE

QUIET = PRIVATE | {"show_progress": "hidden"}
WATCHES = QUIET | {"concurrency_limit": None}
# one at a time: each builds a network in memory
MAKES = {"concurrency_limit": 1, "concurrency_id": "bundle"}
WHAT = (
    "What changed is small: whoever loads it with this project gets the rest of VGG16 by itself. "
    "The whole opens in timm and transformers without this project."
)


def publish_tab(publishing: Publishing, visitor: gr.BrowserState, tab: gr.Tab) -> None:
    """Nothing is asked of the Hub before `tab` is looked at."""
    name = gr.State("")
    gr.Markdown(
        "Put a finished run on the [Hugging Face Hub](https://huggingface.co), with a model card "
        "that says what it is, how good it is and how to use it."
    )
    with gr.Row():
        with gr.Column(min_width=300):
            run, what, licence = _of_what()
        with gr.Column(min_width=300):
            repository, private = _where()
            whose, token = _as_whom(publishing)
    bundle = gr.HTML(words.NO_RUN, elem_classes="offered")
    with gr.Row():
        publish = gr.Button("Publish", variant="primary", min_width=160)
        cancel = gr.Button("Cancel", interactive=False, min_width=120)
        zip_it = gr.Button("Download as zip", min_width=160)
    watched = [gr.HTML(words.status(None)), publish, cancel]
    wanted = [visitor, run, what, repository, private, licence]
    _tell(publishing, tab, [visitor, run, name], [what, repository, licence, bundle])
    ask = publishing.whose_on_a_space if publishing.shared else publishing.whose
    asked = tab.select(ask, None, [whose, name], **QUIET)
    asked.then(publishing.placed, [name, repository], repository, **QUIET)
    if token is None:
        started = publish.click(publishing.start_signed_in, wanted, watched, **QUIET)
    else:
        started = publish.click(publishing.start, [*wanted, token], [*watched, token], **QUIET)
    for event in (started.success, tab.select):
        event(publishing.watch, visitor, watched, **WATCHES)
    cancel.click(publishing.cancel, visitor, watched, **QUIET)
    fetches(zip_it, publishing.zipped, wanted, "fetched-bundle", **MAKES)


def _of_what() -> tuple[gr.Dropdown, gr.Radio, gr.Dropdown]:
    # what is none of the choices gets a sentence; gradio's own refusal would print what was posted
    run = gr.Dropdown(
        [],
        value=None,
        label="Run",
        info="One of your finished runs.",
        allow_custom_value=True,
    )
    what = gr.Radio([(LABELS[what], what) for what in WHATS], value="head", label="What", info=WHAT)
    licence = gr.Dropdown(
        [("Leave out", ""), *LICENCES],
        value="",
        label="Licence",
        info="What others may do with it; its body and its images name none. Choose, or type one "
        "that the Hub knows.",
        allow_custom_value=True,
        visible=False,
    )
    return run, what, licence


def _where() -> tuple[gr.Textbox, gr.Checkbox]:
    repository = gr.Textbox(
        label="Repository",
        info="user/name or organisation/name; a name alone goes to your own account.",
        max_lines=1,
        html_attributes=gr.InputHTMLAttributes(autocapitalize="off", spellcheck=False),
    )
    private = gr.Checkbox(
        True, label="Private", info="Only you, or your organisation, can see a new repository."
    )
    return repository, private


def _as_whom(publishing: Publishing) -> tuple[gr.HTML, gr.Textbox | None]:
    """(who is signed in, the field for a token); on a Space a button in the place of the field."""
    if publishing.shared:
        whose = gr.HTML(words.signed_in(None, "&nbsp;"), elem_classes="whose")
        # a copy of the Space whose README asks for no sign-in still shows its other tabs
        if gr.utils.get_space() and os.environ.get("OAUTH_CLIENT_ID"):
            gr.LoginButton()
        return whose, None
    whose = gr.HTML(words.signed_in(None, "&nbsp;"), elem_classes="whose")
    token = gr.Textbox(
        type="password",
        label="Token",
        info="Used for one publish and kept nowhere. Empty: the sign-in of this machine.",
        html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
    )
    return whose, token


def _tell(publishing: Publishing, tab: gr.Tab, known: list, shown: list) -> None:
    """What there is to publish of the run that is chosen."""
    visitor, run, _ = known
    what, *_, bundle = shown
    tab.select(publishing.listed, [visitor, run], run, **QUIET)
    run.change(publishing.chosen, known, shown, trigger_mode="always_last", **QUIET)
    what.input(publishing.told, [visitor, run, what], bundle, trigger_mode="always_last", **QUIET)
