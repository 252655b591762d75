"""Every event of the page by raw POST: no traceback, no path, nothing of another visitor."""

import json
import secrets
import urllib.error
import urllib.request

import pytest

from tests.browser.conftest import ROOT, strangers_server
from tests.browser.quick_app import command
from tests.jobs.fake import ended
from tests.tiny import TINY, draw_classes
from transfer.jobs import JobLimits, JobManager
from transfer.settings import TrainingSettings
from transfer.training.recipe import train
from transfer.ui.data.uploads import PHOTOS, UploadHandlers

VICTIM, STRANGER = "victim-" + "v" * 25, "stranger-" + "s" * 23
SECRETS = ("quagga", "okapi", "Secret zoo")
SECONDS_TO_ANSWER = 60
LIVE = ("Queued", "Loading PyTorch", "Warm-up epoch")  # the later, the slower the answer is
TAKE_FILES = ("file", "image")
PHOTO = "another's photo"
ENDS = ("process_completed", "unexpected_error")


@pytest.fixture(scope="module")
def shared_runs(tmp_path_factory):
    """A victim's finished run, photos, and a training that waits."""
    folder = tmp_path_factory.mktemp("shared")
    zoo = draw_classes(folder / "photos", each=6, classes=SECRETS[:2])
    run = train(zoo, out=folder / "run", **TINY)
    runs = folder / "runs"
    jobs = JobManager(runs, limits=JobLimits.shared(), command=command(run.path))
    assert ended(jobs.start("digits", TrainingSettings(), VICTIM, SECRETS[2])).state == "done"
    own = UploadHandlers(jobs).images(VICTIM)
    for name in SECRETS[:2]:
        own.add_class(name)
        own.add(name, zoo / name / "0.png")
    jobs.close()
    return runs


@pytest.fixture(scope="module")
def shared_address(shared_runs):
    with strangers_server(shared_runs) as address:
        yield address


@pytest.fixture(scope="module")
def live_job(page, shared_address):
    """The victim trains, for ever."""
    dependency = next(each for each in page["dependencies"] if each["api_name"] == "start")
    values = ["digits", "quick", "none", "auto", "", "auto", *[""] * 7]
    values += ["auto", "", "auto", ""]
    answer = sent(shared_address, dependency["id"], [VICTIM, *values], secrets.token_hex(5))
    assert any(words in answer for words in LIVE), answer


@pytest.fixture(scope="module")
def page(shared_address):
    with urllib.request.urlopen(f"{shared_address}/config") as answer:
        return json.load(answer)


def sent(address: str, number: int, data, session: str) -> str:
    """Everything an event answers to a POST of `data`, or the refusal."""
    body = {"data": data, "fn_index": number, "session_hash": session}
    join = urllib.request.Request(
        f"{address}/gradio_api/queue/join",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        urllib.request.urlopen(join, timeout=SECONDS_TO_ANSWER).read()
        with urllib.request.urlopen(
            f"{address}/gradio_api/queue/data?session_hash={session}", timeout=SECONDS_TO_ANSWER
        ) as lines:
            return _until_the_end(lines)
    except urllib.error.HTTPError as error:
        return error.read().decode()


def _until_the_end(lines) -> str:
    said = []
    for line in lines:
        said.append(line.decode())
        if any(f'"{end}"' in said[-1] for end in ENDS):
            break
    return "".join(said)


def file_at(path: str) -> dict:
    return {"path": path, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}


def files_at(path: str):
    """(what it is, data): a file of the server, as it is named by who hides that it is one."""
    yield "with gradio's mark", file_at(path)
    yield "without it", {"path": path}
    yield "with another mark", file_at(path) | {"meta": {}}
    yield "as a drawing", {"path": path, "orig_name": "a.svg"}
    yield "with an address", {"path": path, "url": f"file://{path}"}


def payloads(fields: list[dict], names: list[str], path: str, photo: str):
    """(what it is, data): from a stranger who knows the victim's names, or who sends nonsense."""
    inputs, who, rest = len(fields), STRANGER, max(len(fields) - 1, 0)
    if any(field["type"] in TAKE_FILES for field in fields):
        for what, file in files_at(photo):
            for named in (file, [file], {"value": file}):
                data = [
                    named if field["type"] in TAKE_FILES else field["props"].get("value")
                    for field in fields
                ]
                yield f"{PHOTO} {what}", [who, *data[1:]]
    for name in [*names, path]:
        # what is no choice of a radio does not get as far as a handler
        chosen = [f["props"].get("value") if f["type"] == "radio" else name for f in fields]
        yield f"as {name[:12]}", [who, *chosen[1:]][:inputs]
    yield "a file of the server", [who, *[file_at(path)] * rest][:inputs]
    yield "several files", [who, *[[file_at(path)]] * rest][:inputs]
    yield "numbers", [7] * inputs
    yield "objects", [{"a": [None]}] * inputs
    yield "nothing", [None] * inputs
    yield "too few", [who][: max(inputs - 1, 0)]
    yield "too many", [who] * (inputs + 2)


def test_no_event_reveals_a_path_a_traceback_or_anothers_data(
    page, shared_address, shared_runs, live_job
):
    run_name = next(path.name for path in shared_runs.iterdir() if (path / "run.json").exists())
    run_files = str(shared_runs / run_name / "run.json")
    photo = str(next(shared_runs.rglob("00001.jpg")))
    paths = [str(shared_runs.parent), str(ROOT), "site-packages", "/usr/lib"]
    leaks, components = [], {each["id"]: each for each in page["components"]}
    for event in page["dependencies"]:
        if not event["backend_fn"]:
            continue
        names, session = [run_name, f"../{run_name}", PHOTOS], secrets.token_hex(6)
        fields = [components[number] for number in event["inputs"]]
        for what, data in payloads(fields, names, run_files, photo):
            answer = sent(shared_address, event["id"], data, session)
            seen = answer.replace(run_files, "")  # what the request itself named
            marks = (*SECRETS, *paths, "Traceback", *(["<img"] if what.startswith(PHOTO) else []))
            found = [mark for mark in marks if mark in seen]
            if found or not answer:
                leaks.append((event["api_name"], what, found, answer[:300]))
    assert leaks == []
    with urllib.request.urlopen(shared_address, timeout=20) as answer:
        assert answer.status == 200
    log = (shared_runs.parent / "log.txt").read_text(errors="replace")
    assert f'File "{ROOT / "transfer"}' not in log  # gradio refused it, or a handler in a sentence


def test_no_file_of_another_visitor_is_served_by_its_path(shared_address, shared_runs):
    for name in ("00001.jpg", "run.json"):
        path = next(shared_runs.rglob(name))
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{shared_address}/gradio_api/file={path}", timeout=20)
        assert caught.value.code in (403, 404)


def test_the_victims_data_is_unchanged(page, shared_address, shared_runs, live_job):
    listed = next(each for each in page["dependencies"] if each["api_name"] == "listed")
    answer = sent(shared_address, listed["id"], [VICTIM, "", []], secrets.token_hex(6))
    assert SECRETS[2] in answer
    for name in ("stop", "watch"):
        event = next(each for each in page["dependencies"] if each["api_name"] == name)
        answer = sent(shared_address, event["id"], [VICTIM], secrets.token_hex(6))
    assert "Stopped before anything was learned" in answer
    assert list(shared_runs.rglob("00001.jpg"))
