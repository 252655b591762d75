"""The running app as other programs call it: over HTTP, gradio's client and MCP."""

import asyncio
import base64
import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from gradio_client import Client, handle_file

from tests.tiny import picture

PUBLIC = ["/classify", "/start_training", "/training_status", "/stop_training", "/list_runs"]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    picture(0, 0).save(path)
    return path


@pytest.fixture(scope="module")
def client(page_address):
    return Client(page_address, verbose=False)


def posted(address: str, call: str, data: list) -> str:
    """What a raw POST to an event is answered with in the end."""
    request = urllib.request.Request(
        f"{address}/gradio_api/call/{call}",
        data=json.dumps({"data": data}).encode(),
        headers={"Content-Type": "application/json"},
    )
    event = json.load(urllib.request.urlopen(request, timeout=20))["event_id"]
    with urllib.request.urlopen(request.full_url + f"/{event}", timeout=60) as answer:
        return answer.read().decode()


def over_mcp(address: str, call):
    """What `call` returns of a session with the app's tools."""
    session = pytest.importorskip("mcp", reason="requirements-dev.txt names mcp").ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def called():
        url = f"{address}/gradio_api/mcp/"
        async with streamable_http_client(url) as (read, write, _), session(read, write) as mcp:
            await mcp.initialize()
            return await call(mcp)

    with ThreadPoolExecutor(1) as aside:  # the browser's driver has a loop of its own in this one
        return aside.submit(asyncio.run, called()).result()


def test_the_public_endpoints_are_these_and_no_others(page_address):
    with urllib.request.urlopen(f"{page_address}/gradio_api/info") as answer:
        assert list(json.load(answer)["named_endpoints"]) == PUBLIC


@pytest.mark.parametrize("path", ["monitoring", "monitoring/summary", "monitoring/a-key"])
def test_monitoring_is_closed(page_address, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{page_address}/{path}")
    assert refused.value.code == 403


def test_a_picture_is_classified_by_the_example(client, photo):
    found = client.predict(handle_file(photo), "example:digits", 3, api_name="/classify")
    assert len(found) == 3
    assert found == sorted(found, key=lambda row: -row["score"])


def test_a_training_is_started_followed_and_stopped(client):
    job = client.predict("digits", {"method": "features"}, api_name="/start_training")["job"]
    client.predict(job, api_name="/stop_training")
    assert client.predict(job, api_name="/training_status")["job"] == job
    assert isinstance(client.predict(api_name="/list_runs"), list)


FORMS = {
    "with gradio's mark": lambda path: {"path": path, "meta": {"_type": "gradio.FileData"}},
    "without it": lambda path: {"path": path},
    "with another mark": lambda path: {"path": path, "meta": {"_type": "a file"}},
    "with an address": lambda path: {"path": path, "url": "http://127.0.0.1:1/a.png"},
    "an address alone": lambda path: {"url": f"file://{path}"},
    "in a list": lambda path: [{"path": path}],
    "in another": lambda path: {"path": {"path": path}},
    "as text": lambda path: path,
}


@pytest.mark.parametrize("form", FORMS)
def test_no_file_of_the_server_can_be_named(page_address, photo, form):
    answers = set()
    for path in (str(photo), "/etc/passwd", "/no/such", "README.md", "https://127.0.0.1:1/a.png"):
        answer = posted(page_address, "classify", [FORMS[form](path), "example:digits", 3])
        assert "event: error" in answer and "score" not in answer
        answers.add(answer)
    assert len(answers) == 1 and "uploaded here" in answers.pop()  # whether a file exists or not


def test_pictures_come_over_mcp_in_the_call_itself(page_address, photo):
    data = f"data:image/png;base64,{base64.b64encode(photo.read_bytes()).decode()}"

    async def said(mcp):
        call = {"image": data, "run": "example:digits", "top": 2}
        return await mcp.call_tool("classify", call)

    answer = over_mcp(page_address, said)
    assert not answer.isError and "score" in answer.content[0].text


def test_gradio_keeps_no_history_of_requests(page_address):
    with urllib.request.urlopen(f"{page_address}/config") as answer:
        assert json.load(answer)["run_history"] is False


@pytest.mark.parametrize("job", ["", "1", "../..", "0000000000000000.", None, {"a": 1}])
def test_a_job_that_was_not_given_out_is_refused(page_address, job):
    for call in ("training_status", "stop_training"):
        answer = posted(page_address, call, [job])
        assert "event: error" in answer and "Traceback" not in answer


def test_the_same_names_are_tools_of_mcp(page_address):
    async def listed(mcp):
        return (await mcp.list_tools()).tools

    tools = {tool.name: tool for tool in over_mcp(page_address, listed)}
    assert [f"/{name}" for name in tools] == PUBLIC
    assert "a name from list_runs" in str(tools["classify"].inputSchema["properties"]["run"])
