"""The Publish tab: a finished run as a repository on the Hub, or as a zip of the same files."""

import gradio as gr

from transfer.publishing.bundle import WHATS
from transfer.ui.publish import text as words
from transfer.ui.publish.handlers import LABELS, PublishHandlers, licence_choice
from transfer.ui.shared.components import LATEST
from transfer.ui.shared.downloads import download_on_click
from transfer.ui.shared.session import QUIET
from transfer.ui.shared.sign_in import sign_in_button

WATCHES = QUIET | {"concurrency_limit": None}
# one at a time: each builds a network in memory
MAKES = {"concurrency_limit": 1, "concurrency_id": "bundle"}
WHAT = (
    "What changed is small: whoever loads it with this project gets the rest of VGG16 by itself. "
    "The whole opens in timm and transformers without this project."
)


def publish_tab(publishing: PublishHandlers, visitor: gr.BrowserState, tab: gr.Tab) -> None:
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
            whose = gr.HTML(words.signed_in(None, "&nbsp;"), elem_classes="whose")
            way_in = sign_in_button() if publishing.shared else _field_for_a_token()
    bundle = gr.HTML(words.NO_RUN, elem_classes="offered")
    with gr.Row():
        publish = gr.Button("Publish", variant="primary", min_width=160)
        cancel = gr.Button("Cancel", interactive=False, min_width=120)
        zip_it = gr.Button("Download as zip", min_width=160)
    watched = [gr.HTML(words.status(None)), publish, cancel]
    wanted = [visitor, run, what, repository, private, licence]
    chosen = _tell(publishing, tab, [visitor, run, name], [what, repository, licence, bundle])
    if publishing.shared:
        asked = tab.select(publishing.whose_on_a_space, None, [whose, name, way_in], **QUIET)
        started = publish.click(publishing.start_signed_in, wanted, watched, **QUIET)
        # a sign-in may have ended while it was looked at
        started.failure(publishing.whose_on_a_space, None, [whose, name, way_in], **QUIET)
    else:
        asked = tab.select(publishing.whose, None, [whose, name], **QUIET)
        started = publish.click(publishing.start, [*wanted, way_in], [*watched, way_in], **QUIET)
    for event in (asked, chosen):  # whichever is answered last knows both names
        event.then(publishing.placed, [name, repository], repository, **QUIET)
    for event in (started.success, tab.select):
        event(publishing.watch, visitor, watched, **WATCHES)
    cancel.click(publishing.cancel, visitor, watched, **QUIET)
    download_on_click(zip_it, publishing.zipped, wanted, "fetched-bundle", **MAKES)


def _of_what() -> tuple[gr.Dropdown, gr.Radio, gr.Dropdown]:
    # what is none of the choices gets a sentence; gradio's own refusal would print what was posted
    run = gr.Dropdown(
        [],
        value=None,
        label="Run",
        info="One of your finished runs.",
        allow_custom_value=True,
    )
    what = gr.Radio(
        [(LABELS[what], what) for what in WHATS],
        value="head",
        label="What",
        info=WHAT,
        elem_classes="stacked",  # with their sizes they would not stand side by side any more
    )
    licence = gr.Dropdown(
        **licence_choice(),
        label="Licence",
        info="What others may do with it. Where its body and its images name none, choose one, or "
        "type one that the Hub knows.",
        allow_custom_value=True,
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


def _field_for_a_token() -> gr.Textbox:
    return gr.Textbox(
        type="password",
        label="Token",
        info="Used for one publish and kept nowhere. Empty: the sign-in of this machine.",
        html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
    )


def _tell(
    publishing: PublishHandlers, tab: gr.Tab, known: list, shown: list
) -> gr.events.Dependency:
    """What there is to publish of the run that is chosen; returned is that one was."""
    visitor, run, _ = known
    what, *_, bundle = shown
    tab.select(publishing.listed, [visitor, run], run, **QUIET)
    what.input(publishing.told, [visitor, run, what], bundle, **LATEST, **QUIET)
    return run.change(publishing.chosen, known, shown, **LATEST, **QUIET)
