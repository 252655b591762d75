from transfer.errors import RunError
from transfer.publishing.errors import explain


def answered(status: int, message: str):
    """What huggingface_hub raises for such an answer."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    request = httpx.Request("POST", "https://hub/api?signature=s3cret")
    response = httpx.Response(status, request=request)
    return HfHubHTTPError("long\nlines", response=response, server_message=message)


def test_a_refusal_is_one_line_with_the_hubs_reason_and_without_the_token():
    wrapped = RuntimeError("Error while uploading 'x'")
    wrapped.__cause__ = answered(403, "no room for\nhf_secret here")
    for error in (wrapped, answered(400, "no room for\nhf_secret here")):
        line = str(explain(error, "me/x", "hf_secret"))
        assert ": no room for … here)" in line
        assert "hf_secret" not in line and "s3cret" not in line and "\n" not in line


def test_known_errors_stay_and_unknown_ones_are_named():
    known = RunError("expected a run, found none")
    assert explain(known, "me/x", "t") is known
    line = str(explain(KeyError("hf_secret"), "me/x", "hf_secret"))
    assert line == "publishing to me/x failed (KeyError); publish again"
