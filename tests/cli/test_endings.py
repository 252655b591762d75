"""How a training ends when the machine does not play along: full disks, signals, lost streams.

Few trainings, most of them in this process; the whole matrix is marked `full`.
"""

import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_main import run as run_command
from tests.tiny import TINY, drained
from transfer import events
from transfer.cli import main as cli
from transfer.cli.progress import Progress
from transfer.errors import TransferError
from transfer.runs import writer
from transfer.runs.run import read_run
from transfer.settings import TrainingSettings
from transfer.training import recipe

CHANGED = {"method": "features", "precision": "fp32", "limit_per_class": 6}
SETTINGS = TrainingSettings.from_options(**TINY | CHANGED)
TRAIN = "--weights random --image-size 32 --method features --limit-per-class 6 --json".split()
CODES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT, errno.EIO)
MOMENTS = (events.WeightsChosen, events.CacheProgress, events.PhaseStarted, events.PhaseDone)
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU, signal.SIGINT)


def full(*values):
    """Cases of the whole matrix."""
    return [
        pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=pytest.mark.full) for v in values
    ]


@pytest.fixture
def command(capsys, monkeypatch):
    monkeypatch.setattr(TrainingSettings, "from_options", lambda **_: SETTINGS)
    return lambda *arguments: run_command(capsys, monkeypatch, *arguments)


class Disk:
    """Refuses to change files below `folder`, from some change on."""

    def __init__(self, monkeypatch, folder: Path):
        self.folder, self.code, self.left = str(folder), 0, sys.maxsize
        for module, name in ((io, "open"), (os, "mkdir"), (os, "replace"), (os, "rename")):
            monkeypatch.setattr(module, name, self._guarded(getattr(module, name)))

    def refuse(self, code: int, after: int) -> None:
        self.code, self.left = code, after

    def _guarded(self, call):
        def guarded(path, *args, **options):
            changes = call is not OPEN or not (args and args[0].startswith("r"))
            if changes and str(path).startswith(self.folder):
                self.left -= 1
                if self.left < 0:
                    raise OSError(self.code, os.strerror(self.code), str(path))
            return call(path, *args, **options)

        return guarded


OPEN = io.open


@pytest.mark.parametrize(("code", "step"), [(CODES[0], 3), *full(*((c, 1) for c in CODES))])
def test_a_disk_that_refuses_a_write_costs_no_training(
    code, step, stripes, tmp_path, monkeypatch, cache
):
    """Change by change on the run's disk; what was trained by then is saved on another one."""
    disk, out, saved = Disk(monkeypatch, tmp_path / "disk"), tmp_path / "disk" / "run", []
    for after in range(0, 40, step):
        disk.refuse(code, after)
        try:
            drained(recipe.training_events(str(stripes), out=out, settings=SETTINGS))
            break
        except TransferError as error:
            text = str(error)
        disk.refuse(0, sys.maxsize)
        assert os.strerror(code) in text and "\n" not in text
        assert not out.exists()
        found = list(cache.glob("rescued/run-*"))
        saved.append(len(found))
        if found:
            assert read_run(found[0]).classes and str(found[0]) in text
            shutil.rmtree(cache / "rescued")
    assert 0 < sum(saved) < len(saved) and saved == sorted(saved)
    assert read_run(out).path == out


@pytest.mark.parametrize(("code", "step"), [(CODES[0], 15), *full(*((c, 1) for c in CODES))])
def test_a_cache_that_refuses_a_write_is_one_sentence(
    code, step, stripes, tmp_path, monkeypatch, cache
):
    disk = Disk(monkeypatch, cache)
    for after in range(0, 90, step):
        shutil.rmtree(cache, ignore_errors=True)
        disk.refuse(code, after)
        try:
            drained(recipe.training_events(str(stripes), out=tmp_path / "run", settings=SETTINGS))
            break
        except TransferError as error:
            assert "cache" in str(error) and os.strerror(code) in str(error)
            assert not (tmp_path / "run").exists()
    assert 3 < after < 89


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        *zip((*MOMENTS, None), SIGNALS, strict=True),
        *full(*((moment, number) for moment in (*MOMENTS, None) for number in SIGNALS)),
    ],
)
def test_a_signal_leaves_nothing(moment, number, stripes, tmp_path, monkeypatch, command):
    """At five moments, the last one while the run is written. A second signal changes nothing."""
    out, received = tmp_path / "run", []

    def note(*_) -> None:
        if not received:
            received.append(number)
            signal.raise_signal(number)

    def tidy_up(self) -> None:
        if received:
            signal.raise_signal(signal.SIGHUP)
        remove_built(self)

    remove_built = writer.RunWriter._remove_built
    monkeypatch.setattr(writer.RunWriter, "_remove_built", tidy_up)
    if moment:
        monkeypatch.setattr(Progress, "report", lambda _, e: isinstance(e, moment) and note())
    else:
        monkeypatch.setattr(writer, "sync", note)
    status, printed, err = command("train", stripes, "--out", out)
    name = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    assert (status, printed) == (128 + number, "")
    assert err.endswith(f"error: interrupted{name}; nothing was saved\n")
    assert not out.exists()


def test_a_signal_ends_every_command_in_one_line(stripes, monkeypatch, command):
    monkeypatch.setattr(Progress, "report", lambda *_: signal.raise_signal(signal.SIGTERM))
    status, _, err = command("inspect", stripes)
    assert (status, err) == (143, "error: interrupted by SIGTERM; nothing was saved\n")


def test_a_signal_that_is_ignored_stays_so(monkeypatch, command):
    """As SIGHUP under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def training_events(*_, **__):
        signal.raise_signal(signal.SIGHUP)
        raise TransferError("got here")
        yield

    monkeypatch.setattr(recipe, "training_events", training_events)
    try:
        status, _, err = command("train", "digits", "--out", "R")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert status == 1 and err.endswith("error: got here\n")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left", "/home/ann/x.bin"), "'x.bin': No space left"),
        (
            RuntimeError("CUDA at /home/ann/x.so with hf_abcdefgh"),
            "RuntimeError in cli/test_endings.py",
        ),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_an_error_that_nobody_expected_is_one_line(error, words, monkeypatch, command):
    def training_events(*_, **__):
        raise error
        yield

    monkeypatch.setattr(recipe, "training_events", training_events)
    status, printed, err = command("train", "digits", "--out", "R")
    assert (status, printed) == (1, "") and err.count("\n") == 2
    assert words in err and "/home" not in err and "hf_a" not in err


def test_without_a_home_folder_the_cache_asks_for_one(monkeypatch, command, stripes, tmp_path):
    monkeypatch.delenv("TRANSFER_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    status, _, err = command("train", stripes, "--out", tmp_path / "run")
    assert status == 1 and "set TRANSFER_CACHE" in err.splitlines()[-1]
    status, _, err = command("train", stripes, "--out", "~nobody-of-this-name/run")
    assert status == 1 and "write the path in full" in err.splitlines()[-1]


ODD = {  # environments of services, containers and batch systems
    "all": {
        **{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "HOME": "/proc/none"},
        **{"TMPDIR": "/proc", "RANK": "1", "ALL_PROXY": "socks5h://127.0.0.1:9"},
    },
    "proxy": {"HTTPS_PROXY": "127.0.0.1:9", "http_proxy": "http://ann:p%40ss@127.0.0.1:9"},
    "bad proxy": {"HTTP_PROXY": "http://[::1", "NO_PROXY": "[::1],*"},
    "empty": {"WORLD_SIZE": "1", "HTTP_PROXY": "", "HF_HUB_OFFLINE": "1", "TMPDIR": ""},
}


@pytest.mark.parametrize(
    ("environment", "streams"),
    [("all", "2>&-"), *full(*((name, s) for name in ODD for s in ("2>&-", "2>/dev/full", "<&-")))],
)
def test_a_training_needs_no_terminal_and_no_home(environment, streams, stripes, tmp_path):
    done = shell(["train", stripes, "--out", tmp_path / "run", *TRAIN], streams, ODD[environment])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == str(tmp_path / "run")
    assert {"run.json", "report.json"} < {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "streams"),
    [
        (["inspect", "digits", "--json"], ">/dev/full"),
        *full((["cache"], ">/dev/full"), (["inspect", "digits"], ">/dev/full 2>/dev/full")),
    ],
)
def test_an_answer_that_has_no_room_is_one_line(arguments, streams):
    done = shell(arguments, streams)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert (
        done.stderr.endswith("(No space left on device); make room or check it\n")
        or "2>" in streams
    )


@pytest.mark.full
@pytest.mark.parametrize("size", [0, 5_000, 60_000, 110_000])
def test_a_limit_on_files_is_met_before_the_first_epoch(size, stripes, tmp_path):
    done = shell(["train", stripes, "--out", tmp_path / "run", *TRAIN], "", limit=size)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()


def shell(arguments, streams: str, environment=None, limit: int | None = None):
    """The command line as a process of a shell, with redirected streams and a limit on files."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    words = " ".join(map(str, [sys.executable, "-m", "transfer", *arguments]))
    return subprocess.run(
        ["sh", "-c", f"{words} {streams}"],
        env=os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2])} | (environment or {}),
        preexec_fn=limited,
        capture_output=True,
        text=True,
        timeout=300,
    )
