"""On one's own machine its Hub token opens private datasets; on a Space it is used for nobody."""

import json
import secrets
import time
import urllib.request

import pytest
from gradio_client import Client

from tests.browser.conftest import app_up
from tests.browser.test_privacy import sent
from tests.hub_datasets import plain
from tests.hub_server import FRIEND

VISITOR = "v" * 32
SECONDS_TO_FAIL = 120
CLOSED = {"between/us": {"private": True}, "behind/terms": {"gated": "files"}}
# each of the places where `huggingface_hub` looks for one
KEPT_IN = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH")


@pytest.fixture(autouse=True)
def closed(hub):
    for name, how in CLOSED.items():
        hub.add("datasets", name, {"train.parquet": plain(*10 * [0, 1])}, **how)


@pytest.fixture
def app(tmp_path):
    """Makes an app whose machine is signed in, in one way or in all."""
    file = tmp_path / "token"
    file.write_text(FRIEND)
    tokens = dict(zip(KEPT_IN, (FRIEND, FRIEND, str(file)), strict=True))

    def up(*kept_in: str, **environment):
        paths = (tmp_path / name for name in ("runs", "log.txt", "gradio"))
        return app_up(*paths, **{name: tokens[name] for name in kept_in}, **environment)

    return up


def asked(address: str, event: str, source: str) -> str:
    """What an event of the Data tab answers about a source."""
    with urllib.request.urlopen(f"{address}/config") as answer:
        dependencies = json.load(answer)["dependencies"]
    number = next(each["id"] for each in dependencies if each["api_name"] == event)
    return sent(address, number, [VISITOR, source], secrets.token_hex(6))


@pytest.mark.full
@pytest.mark.parametrize("kept_in", ["HF_TOKEN", "HF_TOKEN_PATH"])
def test_on_ones_own_machine_private_datasets_are_open(app, kept_in):
    with app(kept_in) as address:
        for name in CLOSED:
            assert "2 classes, 20 images" in (answer := asked(address, "show", name)), answer


def test_on_a_space_private_datasets_of_its_owner_stay_closed(app):
    with app(*KEPT_IN, SYSTEM="spaces") as address:
        for name in CLOSED:
            for event in ("show", "check"):
                answer = asked(address, event, name)
                assert name in answer and "on your own machine" in answer and "images" not in answer
        client = Client(address, verbose=False)
        job = client.predict("between/us", {}, api_name="/start_training")["job"]
        deadline = time.monotonic() + SECONDS_TO_FAIL
        while (answer := client.predict(job, api_name="/training_status"))["state"] != "failed":
            assert time.monotonic() < deadline, answer
            time.sleep(0.5)
        assert "found none called 'between/us'" in answer["error"] and FRIEND not in str(answer)
