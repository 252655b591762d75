import pytest

from transfer.errors import RunError
from transfer.publishing.errors import refusal


def answered(status: int, message: str):
    """What huggingface_hub raises for such an answer."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    request = httpx.Request("POST", "https://hub/api?signature=s3cret")
    response = httpx.Response(status, request=request)
    return HfHubHTTPError("long\nlines", response=response, server_message=message)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 409, 412, 413, 429])
def test_a_refusal_is_one_line_with_the_hubs_reason_and_without_the_token(status):
    told = str(refusal(answered(status, "no room for\nhf_secret here"), "me/x", "hf_secret"))
    assert f"(status {status}: no room for … here)" in told
    assert "hf_secret" not in told and "s3cret" not in told and "\n" not in told


def test_what_is_a_clear_line_already_stays():
    error = RunError("expected a run, found none")
    assert refusal(error, "me/x", "t") is error


def test_what_happened_to_one_file_of_several_is_told_as_what_it_was():
    wrapped = RuntimeError("Error while uploading 'x'")
    wrapped.__cause__ = answered(403, "quota")
    assert "(status 403: quota)" in str(refusal(wrapped, "me/x", "hf_secret"))


def test_anything_else_names_its_kind_alone():
    told = str(refusal(KeyError("hf_secret"), "me/x", "hf_secret"))
    assert told == "publishing to me/x failed (KeyError); publish again"
