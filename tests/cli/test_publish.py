import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.hub_server import FRIEND
from tests.publishing.sending import ID, found


def command(*arguments, env=None, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "transfer", "publish", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HF_TOKEN": FRIEND} | (env or {}),
        **more,
    )


def test_the_command_prints_one_object_and_tells_the_rest_on_stderr(run, writing):
    process = command(run.path, ID, "--json")
    out, err = process.communicate(timeout=300)
    told = json.loads(out)
    assert process.returncode == 0 and len(out.splitlines()) == 1
    assert list(told) == ["repository", "url", "commit", "private", "what", "files", "bytes"]
    assert (told["repository"], told["private"], told["what"]) == (ID, True, "head")
    assert told["commit"] == writing.hub.repositories["models", ID].sha
    assert "makes the private repository me/stripes" in err and FRIEND not in out + err
    assert "Traceback" not in err and str(run.path) not in err


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["nowhere", ID], 1), (["RUN", "you/x"], 1), (["RUN", ID, "--what", "body"], 2), (["RUN"], 2)],
)
def test_the_command_says_what_is_wrong_in_one_line(
    arguments, status, run, writing, monkeypatch, capsys
):
    from transfer.cli import main as cli

    named = [str(run.path) if word == "RUN" else word for word in arguments]
    monkeypatch.setattr(sys, "argv", ["transfer", "publish", *named])
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (status, "")
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert not writing.hub.repositories


MOMENTS = {
    "waiting for whoami": ("whoami", "429", "nothing was published"),
    "while storage is waited for": ("PUT", "429", "nothing was published"),
    "while a file is sent": ("PUT", "slow", "nothing was published"),
    "while it is committed": ("/commit/main", "slow", "holds files and stays"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_leaves_130_and_nothing_half_written(moment, run, writing):
    part, what, told = MOMENTS[moment]
    reached, asked_to_end = threading.Event(), threading.Event()

    def act() -> None:
        reached.set()
        if what == "429":
            writing.faults = {len(writing.seen): "429"}
        else:
            asked_to_end.wait(60)
            time.sleep(0.5)

    writing.retry_after, writing.before = "100", {part: act}
    process = command(run.path, ID)
    assert reached.wait(300)
    time.sleep(1 if what == "429" else 0.2)
    process.send_signal(signal.SIGINT)
    asked_to_end.set()
    started = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - started < 15
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("error: interrupted") and told in err.splitlines()[-1]
    assert err.count("error: ") == 1 and "Traceback" not in err
    files = found(writing)
    assert files is None or {"run.json", "model.safetensors", "README.md"} < files.keys()


def asked_licence(monkeypatch, small, answer: str, known: tuple):
    from transfer.cli import publish as publish_command

    monkeypatch.setattr("transfer.publishing.card.license.licenses", lambda run: known)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: answer)
    return publish_command._asked_license(str(small))


def test_a_licence_is_asked_for_only_where_none_is_known(monkeypatch, small):
    assert asked_licence(monkeypatch, small, "mit", (None, None)) == "mit"
    assert asked_licence(monkeypatch, small, " ", (None, None)) is None
    assert asked_licence(monkeypatch, small, "mit", ("bsd-3-clause", None)) == "mit"
    assert asked_licence(monkeypatch, small, "mit", ("bsd-3-clause", "cc-by-4.0")) is None
