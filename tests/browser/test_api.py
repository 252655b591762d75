"""The running app as other programs call it: over HTTP, gradio's client and MCP."""

import asyncio
import json
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


def test_the_public_endpoints_are_these_and_no_others(page_address):
    with urllib.request.urlopen(f"{page_address}/gradio_api/info") as answer:
        assert list(json.load(answer)["named_endpoints"]) == PUBLIC


def test_a_picture_is_classified_by_the_example(client, photo):
    found = client.predict(handle_file(photo), "example:digits", 3, api_name="/classify")
    assert len(found) == 3
    assert found == sorted(found, key=lambda row: -row["score"])


def test_a_training_is_started_followed_and_stopped(client):
    job = client.predict("digits", {"method": "features"}, api_name="/start_training")["job"]
    client.predict(job, api_name="/stop_training")
    assert client.predict(job, api_name="/training_status")["job"] == job
    assert isinstance(client.predict(api_name="/list_runs"), list)


def test_no_file_of_the_server_can_be_named(page_address, photo):
    for path in (str(photo), "/etc/passwd", "README.md"):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        answer = posted(page_address, "classify", [file, "example:digits", 3])
        assert "event: error" in answer and "score" not in answer


@pytest.mark.parametrize("job", ["", "1", "../..", "0000000000000000.", None, {"a": 1}])
def test_a_job_that_was_not_given_out_is_refused(page_address, job):
    for call in ("training_status", "stop_training"):
        answer = posted(page_address, call, [job])
        assert "event: error" in answer and "Traceback" not in answer


def test_the_same_names_are_tools_of_mcp(page_address):
    session = pytest.importorskip("mcp", reason="requirements-dev.txt names mcp").ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def listed():
        address = f"{page_address}/gradio_api/mcp/"
        async with streamable_http_client(address) as (read, write, _), session(read, write) as mcp:
            await mcp.initialize()
            return (await mcp.list_tools()).tools

    with ThreadPoolExecutor(1) as aside:  # the browser's driver has a loop of its own in this one
        tools = {tool.name: tool for tool in aside.submit(asyncio.run, listed()).result()}
    assert [f"/{name}" for name in tools] == PUBLIC
    assert "as list_runs names it" in str(tools["classify"].inputSchema["properties"]["run"])
