"""Signing in with the Hub on a Space: the button, the way there and back, and who says no."""

import os

import gradio as gr

from transfer.ui.shared.session import PRIVATE

SIGN_IN, SIGN_OUT = "Sign in with Hugging Face", "Sign out ({})"
# signing in and out leave the page, which then opens on the tab of the button again
LEAVES = """() => { sessionStorage.setItem("transfer-sign-in", "leaves"); }"""
BACK_TO_PUBLISH = """() => {
    const left = sessionStorage.getItem("transfer-sign-in");
    sessionStorage.removeItem("transfer-sign-in");
    return {__type__: "update", ...(left && {selected: "publish"})};
}"""


def sign_in_available() -> bool:
    """A copy of the Space whose README asks for no sign-in has none, nor has another server."""
    return bool(gr.utils.get_space() and os.environ.get("OAUTH_CLIENT_ID"))


def sign_in_button() -> gr.Button:
    """Out of sight where nobody can sign in: gradio's button would keep the page from opening."""
    if not sign_in_available():
        return gr.Button(visible=False)
    # a screen reader would read the icon's name, which is that of the button, as well
    button = gr.LoginButton(SIGN_IN, SIGN_OUT, icon=None)
    button.click(None, js=LEAVES, **PRIVATE)
    return button


def sign_in_label(name: str) -> gr.Button:
    """The button to sign out as `name`, or to sign in where that is empty."""
    if name:
        return gr.Button(SIGN_OUT.format(name), variant="secondary")
    return gr.Button(SIGN_IN, variant="huggingface")


def sign_in_error_handlers() -> dict:
    """Exception → what FastAPI answers: who says no at the Hub, or whom it refuses, is back on the
    page, where gradio would show an error of the server's."""
    if not sign_in_available():
        return {}
    from authlib.integrations.base_client.errors import OAuthError
    from fastapi.responses import RedirectResponse

    return {OAuthError: lambda request, error: RedirectResponse("/")}
