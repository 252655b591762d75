import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tiny import TINY
from transfer import events, jobs
from transfer.errors import JobError, SettingsError
from transfer.jobs import MAX_QUEUED, Job, Jobs, run_name

CACHED = {
    "images": {"train": 1},
    "skipped": [],
    "computed": 1,
    "megabytes": 0.1,
    "seconds": 0.1,
}
FAKE = '''
"""A worker that does what the source's name says, and notes down what it is told."""
import json, os, signal, sys, time
from pathlib import Path

notes = open(sys.argv[1], "a", buffering=1)

def say(**message):
    print(json.dumps(message), flush=True)

def phase(name):
    say(event="PhaseStarted", phase=name, epochs=1, trainable=1, parameters=2, learns=["head"])

def phase_done(name):
    say(event="PhaseDone", phase=name, epochs=1, best_epoch=1, accuracy=0.5, seconds=1.0, ended="")

def until_stopped():
    for line in sys.stdin:
        if line.strip() == "stop":
            notes.write(f"{os.getpid()} stop\\n")
            return
    sys.exit(0)

say(ready=True)
line = sys.stdin.readline()
if not line.strip():
    sys.exit(0)
order = json.loads(line)
out = Path(order["out"])
notes.write(f"{os.getpid()} {order['source']}\\n")
say(event="WeightsChosen", weights="random", reason="asked for")
kind = order["source"]
if kind == "error":
    say(error="expected images, found none")
    sys.exit(0)
if kind == "junk":
    print("a library's greeting\\n3\\n[]\\nnull\\n{\\"event\\": \\"Nothing\\"}", flush=True)
if kind in ("crash", "killed", "deaf"):
    (out / "checkpoint").mkdir(parents=True)
    (out / "checkpoint" / "pixels.bin").write_bytes(b"1")
if kind == "crash":
    os._exit(3)
if kind == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if kind == "deaf":
    time.sleep(600)
if kind == "early":
    until_stopped()
    say(stopped=True)
    sys.exit(0)
say(event="CacheProgress", stage="reading images", done=1, total=2, seconds=0.1)
say(event="CacheFilled", images={"train": 2}, skipped=[], computed=2, megabytes=0.1, seconds=0.2)
tried = {"head": "avg", "dropout": 0.5, "learning_rate": 1e-3, "optimizer": "sgd", "parameters": 9}
say(event="HeadTried", **tried, validation_loss=1.0, validation_accuracy=0.5, seconds=0.1)
phase("warm-up")
if kind == "slow":
    until_stopped()
phase_done("warm-up")
phase("fine-tune")
say(event="BatchDone", phase="fine-tune", epoch=1, done=1, total=2, seconds_left=1.0)
phase_done("fine-tune")
out.mkdir(parents=True, exist_ok=True)
(out / "run.json").write_text("{}")
say(event="RunSaved", run=str(out), result={"accuracy": 0.5})
'''


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "notes.txt"


@contextmanager
def registry(tmp_path: Path, command: tuple[str, ...] | None = None):
    script = tmp_path / "fake_worker.py"
    script.write_text(FAKE)
    command = command or (sys.executable, "-S", str(script), str(tmp_path / "notes.txt"))
    found = Jobs(tmp_path / "runs", command=command)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def running(tmp_path):
    with registry(tmp_path) as found:
        yield found


def wait_for(condition, seconds: float = 15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def ended(job: Job) -> Job:
    wait_for(lambda: not job.live)
    return job


def learns(job: Job) -> Job:
    wait_for(lambda: job.state == "warm-up")
    return job


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def states_of(monkeypatch) -> list[str]:
    """Every state that any job comes to have, in order, each told once in a row."""
    seen, change = [], Jobs._change

    def noted(self, job, **fields):
        change(self, job, **fields)
        if not seen or seen[-1] != job.state:
            seen.append(job.state)

    monkeypatch.setattr(Jobs, "_change", noted)
    return seen


def test_a_job_passes_from_queued_to_done(monkeypatch, tmp_path):
    seen = states_of(monkeypatch)
    with registry(tmp_path) as running:
        job = running.start("good", {"seed": 1})
        ended(job)
    assert seen == [
        "loading",
        "caching",
        "heads",
        "warm-up",
        "evaluating",
        "fine-tune",
        "evaluating",
        "done",
    ]
    assert job.error == "" and job.started is not None
    assert [type(event).__name__ for event in job.history] == [
        "WeightsChosen",
        "CacheFilled",
        "PhaseStarted",
        "PhaseDone",
        "PhaseStarted",
        "PhaseDone",
        "RunSaved",
    ]
    assert job.history[-1] == events.RunSaved(run=str(job.out), result={"accuracy": 0.5})
    assert job.passing is None
    assert job.out.parent == tmp_path / "runs"


def test_progress_is_kept_only_while_it_is_new(running):
    job = running.start("early", {})
    wait_for(lambda: job.history)
    running._take(job, events.CacheProgress(stage="x", done=1, total=2, seconds=0.1))
    assert isinstance(job.passing, events.CacheProgress) and job.state == "caching"
    before = job.version
    running._take(job, events.CacheFilled(**CACHED))
    assert job.passing is None and job.version == before + 1


def test_a_crash_fails_its_job_with_a_sentence_and_the_next_one_runs(running):
    crashed, after = running.start("crash", {}), running.start("good", {})
    assert ended(crashed).state == "failed"
    assert "ended unexpectedly (status 3)" in crashed.error
    assert ended(after).state == "done"
    assert not crashed.out.exists()
    assert after.out.exists()


def test_a_kill_is_told_as_want_of_memory(running):
    job = ended(running.start("killed", {}))
    assert job.state == "failed"
    assert "memory" in job.error and "smaller image size" in job.error
    assert not job.out.exists()


def test_an_error_is_the_job_s_own_sentence(running):
    job = ended(running.start("error", {}))
    assert (job.state, job.error) == ("failed", "expected images, found none")


def test_a_job_that_has_ended_cannot_be_stopped(running):
    job = ended(running.start("error", {}))
    version = job.version
    running.stop(job.id)
    assert (job.state, job.stopping, job.version) == ("failed", False, version)


def test_lines_that_are_no_events_change_nothing(running):
    job = ended(running.start("junk", {}))
    assert job.state == "done" and len(job.history) == 7
    assert ended(running.start("good", {})).state == "done"


def test_a_job_in_the_queue_just_goes(running, notes):
    first, second = running.start("slow", {}), running.start("good", {})
    learns(first)
    assert (running.position(first), running.position(second)) == (0, 1)
    running.stop(second.id)
    assert second.state == "stopped" and running.position(second) == 0
    running.stop(first.id)
    assert ended(first).state == "done"
    assert "good" not in notes.read_text()


def test_stopping_a_training_asks_its_worker_once_and_keeps_the_run(monkeypatch, running):
    send, sent = jobs._send, []

    def noted(worker, line):
        sent.append(line)
        send(worker, line)

    monkeypatch.setattr(jobs, "_send", noted)
    job = learns(running.start("slow", {}))
    running.stop(job.id)
    running.stop(job.id)
    assert job.stopping
    assert ended(job).state == "done"
    running.stop(job.id)
    assert sent[1:] == ["stop"]


def test_a_training_that_was_stopped_before_it_learned_keeps_nothing(running):
    job = running.start("early", {})
    wait_for(lambda: job.history)
    running.stop(job.id)
    assert ended(job).state == "stopped" and job.error == ""


def test_a_stop_never_comes_before_the_order(monkeypatch, running):
    """Whoever stops a job just when it is handed over is heard after that."""
    send, stoppers = jobs._send, []

    def slow_send(worker, line):
        if "slow" in line:
            job_id = running.newest_of("ann").id
            stoppers.append(threading.Thread(target=running.stop, args=(job_id,)))
            stoppers[0].start()
            stoppers[0].join(timeout=0.3)
        send(worker, line)

    monkeypatch.setattr(jobs, "_send", slow_send)
    job = ended(running.start("slow", {}, owner="ann"))
    assert (job.state, job.error) == ("done", "")


def test_an_owner_has_one_live_job(running):
    first = running.start("slow", {}, owner="ann")
    with pytest.raises(JobError, match="still going on"):
        running.start("good", {}, owner="ann")
    other = running.start("good", {}, owner="bob")
    running.stop(learns(first).id)
    ended(first)
    again = running.start("good", {}, owner="ann")
    assert running.all_of("ann") == [first, again] and running.newest_of("ann") is again
    assert running.newest_of("bob") is other
    assert running.newest_of("eve") is None and running.all_of("") == []
    ended(again)


def test_the_queue_has_an_end(running):
    learns(running.start("slow", {}))
    queued = [running.start("good", {}) for _ in range(MAX_QUEUED)]
    assert [running.position(job) for job in queued] == list(range(1, MAX_QUEUED + 1))
    with pytest.raises(JobError, match=f"{MAX_QUEUED} trainings are waiting"):
        running.start("good", {})


def test_jobs_run_one_at_a_time_in_order(running, notes):
    queued = [running.start("good", {}) for _ in range(3)]
    started = [ended(job).started for job in queued]
    assert started == sorted(started)
    assert len({line.split()[0] for line in notes.read_text().splitlines()}) == 3


def test_bad_options_are_refused_before_anything_starts(running, notes):
    with pytest.raises(SettingsError):
        running.start("good", {"unfreeze": "block9"}, owner="ann")
    assert running.newest_of("ann") is None and not notes.exists()


def test_a_job_that_is_not_known_is_told_so(running):
    with pytest.raises(JobError, match="found none"):
        running.get("nothing")
    with pytest.raises(JobError):
        running.stop("nothing")
    job = running.start("good", {})
    assert running.get(job.id) is job
    ended(job)


def test_a_warm_worker_takes_the_next_job(running, notes):
    running.keep_warm()
    warm = running._spare.pid
    running.keep_warm()
    assert running._spare.pid == warm
    ended(running.start("good", {}))
    assert notes.read_text().split()[0] == str(warm)
    wait_for(lambda: running._spare is not None)


def test_a_warm_worker_that_died_is_not_given_a_job(running, notes):
    running.keep_warm()
    dead = running._spare
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait()
    job = ended(running.start("good", {}))
    assert (job.state, job.error) == ("done", "")
    assert str(dead.pid) not in notes.read_text()


def test_a_worker_that_cannot_be_started_fails_its_job_alone(tmp_path):
    with registry(tmp_path, command=(str(tmp_path / "no-such-program"),)) as running:
        running.keep_warm()
        for job in (running.start("good", {}), running.start("good", {})):
            assert ended(job).state == "failed"
            assert "no process could be started" in job.error and "\n" not in job.error


def test_close_ends_every_worker(tmp_path, notes):
    with registry(tmp_path) as running:
        learns(running.start("slow", {}))
        waiting = running.start("good", {})
        running.keep_warm()
        workers = [running._worker, running._spare]
        assert all(alive(worker.pid) for worker in workers)
    wait_for(lambda: all(worker.poll() is not None for worker in workers))
    assert waiting.state == "queued" and "good" not in notes.read_text()


def test_close_kills_a_worker_that_does_not_listen_and_clears_up_after_it(monkeypatch, tmp_path):
    monkeypatch.setattr(jobs, "SECONDS_TO_END", 0.2)
    with registry(tmp_path) as running:
        job = running.start("deaf", {})
        wait_for(lambda: (job.out / "checkpoint" / "pixels.bin").exists())
        worker = running._worker
    assert worker.poll() is not None
    assert not job.out.exists()


@pytest.mark.parametrize(
    ("source", "start"),
    [
        ("/home/ann/My Photos (2)/", "my-photos-2-"),
        ("hub:user/cats_vs_dogs", "cats-vs-dogs-"),
        ("../..", "run-"),
        ("猫", "run-"),
        ("x" * 300, "x" * 40 + "-"),
    ],
)
def test_a_run_s_name_says_what_was_trained_and_is_safe(source, start):
    name = run_name(source, "0123456789abcdef")
    assert name.startswith(start) and name.endswith("-01234567")
    assert Path(name).name == name and len(name) < 80


def test_the_registry_imports_neither_torch_nor_gradio():
    code = "import sys, transfer.jobs; print(*({'torch', 'gradio', 'timm'} & set(sys.modules)))"
    root = str(Path(jobs.__file__).parent.parent)
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == ""


@pytest.mark.slow
def test_a_real_worker_trains_a_folder(stripes, tmp_path):
    running = Jobs(tmp_path / "runs")
    try:
        job = running.start(str(stripes), TINY | {"head_epochs": 1})
        wait_for(lambda: not job.live, seconds=120)
        assert (job.state, job.error) == ("done", "")
        record = json.loads((job.out / "run.json").read_text())
        assert record["classes"] == ["across", "down", "spots"]
        assert {path.name for path in job.out.iterdir()} == {
            "run.json",
            "report.json",
            "model.safetensors",
        }
    finally:
        running.close()
