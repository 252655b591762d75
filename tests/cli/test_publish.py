import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from tests.hub_server import FRIEND
from tests.publishing.conftest import small, writing  # noqa: F401 (fixtures)
from tests.publishing.sending import ID, found
from tests.test_events import EXAMPLES
from transfer.errors import PublishError

*_, SAVED = EXAMPLES


@pytest.fixture
def publish(command):
    return lambda *arguments: command("publish", *arguments)


@pytest.fixture
def command(monkeypatch, capsys):
    """(exit status, stdout, stderr) of the command."""

    def call(*arguments) -> tuple[int | None, str, str]:
        from transfer.cli import main as cli

        monkeypatch.setattr(sys, "argv", ["transfer", *map(str, arguments)])
        monkeypatch.setenv("HF_TOKEN", FRIEND)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    return call


def test_one_json_object_on_stdout_and_the_rest_on_stderr(publish, run, writing):  # noqa: F811
    status, out, err = publish(run.path, ID, "--json")
    published = json.loads(out)
    assert not status and len(out.splitlines()) == 1
    assert list(published) == ["repository", "url", "commit", "private", "what", "files", "bytes"]
    assert (published["repository"], published["private"], published["what"]) == (ID, True, "head")
    assert published["commit"] == writing.hub.repositories["models", ID].sha
    assert "creates the private repository me/stripes" in err and FRIEND not in out + err
    assert "Traceback" not in err and str(run.path) not in err


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["nowhere", ID], 1), (["RUN", "you/x"], 1), (["RUN", ID, "--what", "body"], 2), (["RUN"], 2)],
)
def test_bad_input_is_one_line(arguments, status, publish, run, writing):  # noqa: F811
    named = [run.path if word == "RUN" else word for word in arguments]
    code, out, err = publish(*named)
    assert (code, out) == (status, "")
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert not writing.hub.repositories


def test_ctrl_c_ends_it_with_130_and_one_line(run, writing):  # noqa: F811
    reached, interrupted = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        interrupted.wait(60)

    writing.before = {"PUT": hold}
    process = subprocess.Popen(
        [sys.executable, "-m", "transfer", "publish", str(run.path), ID],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HF_TOKEN": FRIEND},
    )
    assert reached.wait(300)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    interrupted.set()
    assert time.monotonic() - started < 15 and process.returncode == 130
    assert err.splitlines()[-1] == "error: interrupted; nothing was published"
    assert err.count("error: ") == 1 and "Traceback" not in err and found(writing) is None


def test_a_license_is_asked_for_only_if_none_is_known(monkeypatch, small):  # noqa: F811
    from transfer.cli import publish as command

    def ask(answer: str, known: tuple):
        monkeypatch.setattr("transfer.publishing.card.license.licenses", lambda run: known)
        monkeypatch.setattr("typer.prompt", lambda *_, **__: answer)
        return command._ask_license(str(small), "head")

    assert ask("mit", (None, None)) == "mit"
    assert ask(" ", (None, None)) is None
    assert ask("mit", ("bsd-3-clause", "cc-by-4.0")) is None


def test_a_token_that_the_hub_refuses_is_an_advice_to_sign_in(publish, small, writing):  # noqa: F811
    writing.faults = {1: "401…"}
    code, _, err = publish(small, ID)
    assert code == 1 and err.endswith("; run `hf auth login`\n")


def test_a_training_can_publish_its_run(command, run, writing, monkeypatch):  # noqa: F811
    def trained(*_, **__):
        yield replace(SAVED, run=str(run.path))

    monkeypatch.setattr("transfer.training.recipe.training_events", trained)
    train = ("train", "digits", "--out", "x", "--json", "--publish")
    status, out, err = command(*train, ID)
    assert not status, err
    assert json.loads(out)["published"].endswith(ID) and found(writing)

    def refused(*_):
        raise PublishError("the Hub is full")

    monkeypatch.setattr("transfer.publishing.publish_events", refused)
    status, out, err = command(*train, ID)
    assert (status, out) == (1, "") and f"the run is saved in {str(run.path)!r}" in err


def test_where_nothing_can_be_published_no_training_starts(command, writing, monkeypatch):  # noqa: F811
    monkeypatch.setattr("transfer.training.recipe.training_events", None)
    for name, words in (("a/b/c", "expected a repository name"), ("you/x", "account of yours")):
        status, _, err = command("train", "digits", "--out", "x", "--publish", name)
        assert status == 1 and words in err
