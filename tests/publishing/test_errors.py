import pytest

from transfer.errors import RunError
from transfer.publishing.errors import explain


def answered(status: int, message: str):
    """What huggingface_hub raises for such an answer."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    request = httpx.Request("POST", "https://hub/api?signature=s3cret")
    response = httpx.Response(status, request=request)
    return HfHubHTTPError("long\nlines", response=response, server_message=message)


@pytest.mark.parametrize("status", [400, 401, 403, 412])
def test_a_refusal_is_one_line_with_the_hubs_reason_and_without_the_token(status):
    line = str(explain(answered(status, "no room for\nhf_secret here"), "me/x", "hf_secret"))
    assert f"(status {status}: no room for … here)" in line
    assert "hf_secret" not in line and "s3cret" not in line and "\n" not in line


def test_wrapped_known_and_unknown_errors():
    wrapped = RuntimeError("Error while uploading 'x'")
    wrapped.__cause__ = answered(403, "quota")
    assert "(status 403: quota)" in str(explain(wrapped, "me/x", "hf_secret"))
    known = RunError("expected a run, found none")
    assert explain(known, "me/x", "t") is known
    line = str(explain(KeyError("hf_secret"), "me/x", "hf_secret"))
    assert line == "publishing to me/x failed (KeyError); publish again"
