"""The Publish tab: a finished run or one's own photos as a repository on the Hub, or as a zip of
the same files."""

import gradio as gr

from transfer.publishing.bundle import WHATS
from transfer.ui.publish import text
from transfer.ui.publish.handlers import PublishHandlers, license_choices
from transfer.ui.shared.components import LATEST, beside, note
from transfer.ui.shared.downloads import download_on_click
from transfer.ui.shared.session import QUIET
from transfer.ui.shared.sign_in import sign_in_button


def publish_tab(handlers: PublishHandlers, visitor: gr.BrowserState, tab: gr.Tab) -> gr.Dropdown:
    """Returns the field Run. Nothing is asked of the Hub before `tab` is opened."""
    account = gr.State("")
    gr.Markdown(
        "Publish a finished run on the [Hugging Face Hub](https://huggingface.co), with a model "
        "card that describes it, its accuracy and how to use it; or your own photos as a dataset."
    )
    with gr.Row():
        with gr.Column(min_width=300):
            run, what, license = _run_fields()
        with gr.Column(min_width=300):
            repository, private, consent = _repository_fields()
            signed_in_as = gr.HTML(text.about("&nbsp;"), elem_classes="account")
            sign_in = sign_in_button() if handlers.shared else _token_field()
    summary = gr.HTML(text.NO_RUN, elem_classes="offered")
    with gr.Row():
        publish = gr.Button("Publish", variant="primary", min_width=160)
        cancel = gr.Button("Cancel", interactive=False, min_width=120)
        zip_it = gr.Button("Download as zip", min_width=160)
    refused, watched = note(), [gr.HTML(text.status(None)), publish, cancel]
    form = {"visitor": visitor, "run_id": run, "what": what, "repository": repository}
    form |= {"private": private, "license": license, "consent": consent}
    if handlers.shared:
        given = {"inputs": None, "inputs_kwargs": form, "outputs": watched}
        started = beside(refused, publish.click, handlers.start_signed_in, **given)
        signed_in = {"fn": handlers.account_on_a_space, "outputs": [account, signed_in_as, sign_in]}
        known = tab.select(**signed_in, **QUIET)
        started.then(**signed_in, **QUIET)  # the sign-in may have expired meanwhile
    else:
        given = {"inputs": None, "inputs_kwargs": form | {"token": sign_in}}
        started = beside(
            refused, publish.click, handlers.start, **given, outputs=[*watched, sign_in]
        )
        known = tab.select(handlers.account, None, [account, signed_in_as], **QUIET)
    tab.select(handlers.listed, [visitor, run], run, **QUIET)
    proposed = [what, repository, license]
    selected = run.change(handlers.select, [visitor, run], proposed, **LATEST, **QUIET)
    describing = [visitor, run, what, private]
    for event in (selected.then, what.input, private.input):
        event(handlers.describe, describing, [license, summary], **LATEST, **QUIET)
    for event in (selected.then, private.input):
        event(handlers.consent, [run, private], consent, **QUIET)
    for event in (known, selected):  # the one that is answered last knows both names
        event.then(handlers.with_owner, [account, repository], repository, **QUIET)
    for event in (started.success, tab.select):
        event(handlers.watch, visitor, watched, concurrency_limit=None, **QUIET)
    cancel.click(handlers.cancel, visitor, watched, **QUIET)
    download_on_click(
        zip_it, handlers.zipped, None, "fetched-bundle", inputs_kwargs=form, concurrency_limit=1
    )  # one at a time, since it loads a network
    return run


def _run_fields() -> tuple[gr.Dropdown, gr.Radio, gr.Dropdown]:
    # custom values are refused by the handlers: gradio's own message would repeat what was posted
    run = gr.Dropdown(
        [], label="Run", info="A finished run, or your own photos.", allow_custom_value=True
    )
    what = gr.Radio(
        [(text.WHAT_TITLES[what], what) for what in WHATS],
        value="head",
        label="What",
        info=text.WHAT_INFO,
        elem_classes="stacked",  # with their sizes the choices are too wide for one row
    )
    license = gr.Dropdown(
        **license_choices(),
        value="",
        label="License",
        info="What others may do with it. If none follows from the body and the images, choose "
        "one, or type one that the Hub knows.",
        allow_custom_value=True,
    )
    return run, what, license


def _repository_fields() -> tuple[gr.Textbox, gr.Checkbox, gr.Checkbox]:
    repository = gr.Textbox(
        label="Repository",
        info="user/name or organization/name; a name alone goes to your own account.",
        max_lines=1,
        html_attributes=gr.InputHTMLAttributes(autocapitalize="off", spellcheck=False),
    )
    private = gr.Checkbox(True, label="Private", info="Only you or your organization can see it.")
    consent = gr.Checkbox(
        False,
        label=text.CONSENT,
        info="I may show them, and those who are in them agree. Others can keep copies for good.",
        visible=False,
    )
    return repository, private, consent


def _token_field() -> gr.Textbox:
    return gr.Textbox(
        type="password",
        label="Token",
        info="Used for this upload only and never stored. Empty: this machine's sign-in.",
        html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
    )
