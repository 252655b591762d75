"""Sign-in with the Hub on a Space: the button, and the way back to the page."""

import os

import gradio as gr

from transfer.ui.shared.session import PRIVATE

SIGN_IN, SIGN_OUT = "Sign in with Hugging Face", "Sign out ({})"
# signing in and out leave the page; the next one opens on the tab with the button again. The page
# that is left may still be opening: it knows its own mark by the time it began, and leaves it alone
LEAVING = """() => { sessionStorage.setItem("transfer-sign-in", performance.timeOrigin); }"""
BACK_TO_PUBLISH = """() => {
    const left = sessionStorage.getItem("transfer-sign-in");
    if (!left || left === String(performance.timeOrigin)) return {__type__: "update"};
    sessionStorage.removeItem("transfer-sign-in");
    document.getElementById("publish-button")?.scrollIntoView();
    return {__type__: "update", selected: "publish"};
}"""


def sign_in_available() -> bool:
    """Only on a Space whose README asks for it with `hf_oauth: true`."""
    return bool(gr.utils.get_space() and os.environ.get("OAUTH_CLIENT_ID"))


def sign_in_button() -> gr.Button:
    """Hidden where sign-in is not available: there gradio's LoginButton fails."""
    if not sign_in_available():
        return gr.Button(visible=False)
    # without the icon, whose name a screen reader would read as well
    button = gr.LoginButton(SIGN_IN, SIGN_OUT, icon=None)
    button.click(None, js=LEAVING, **PRIVATE)
    return button


def sign_in_label(name: str) -> gr.Button:
    """The button to sign out as `name`, or to sign in if that is empty."""
    if name:
        return gr.Button(SIGN_OUT.format(name), variant="secondary")
    return gr.Button(SIGN_IN, variant="huggingface")


def sign_in_error_handlers() -> dict:
    """For FastAPI: a person who denies access at the Hub returns to the page, not to an error."""
    if not sign_in_available():
        return {}
    from authlib.integrations.base_client.errors import OAuthError
    from fastapi.responses import RedirectResponse

    return {OAuthError: lambda request, error: RedirectResponse("/")}
