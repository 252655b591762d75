import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.data.checks.pictures import photo
from tests.tiny import draw_classes, picture
from transfer.cli import main as cli
from transfer.cli.interrupt import lasting_interrupt

TINY = ["--weights", "bundled", "--image-size", "32", "--limit-per-class", "6"]
SHORT = ["--head-epochs", "2", "--finetune-epochs", "1"]


def run(capsys, monkeypatch, *arguments):
    """(status, stdout, stderr) of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["transfer", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(source, run, what --json printed, stderr) of one small training of the real VGG16."""
    folder = tmp_path_factory.mktemp("cli")
    source = draw_classes(folder / "source")
    command = [sys.executable, "-m", "transfer", "train", str(source), "--out", str(folder / "run")]
    done = subprocess.run(
        [*command, *TINY, *SHORT, "--json"], capture_output=True, text=True, check=True
    )
    return source, folder / "run", json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_train_prints_the_contract_as_its_last_line(trained):
    _, run_folder, result, told = trained
    assert result["run"] == str(run_folder)
    assert result["weights"] == "bundled"
    assert [phase["name"] for phase in result["phases"]] == [
        "cache",
        "features",
        "warm-up",
        "fine-tune",
    ]
    assert result["original_head_parameters"] == 123_642_856 > 50 * result["head_parameters"]
    assert 0 <= result["accuracy_interval"][0] <= result["accuracy"]
    assert result["accuracy"] <= result["accuracy_interval"][1] <= 1
    assert result["peak_rss_bytes"] > 100e6
    assert "Warm-up epoch 1/2" in told
    assert "left" in told


def test_classify_prints_one_object_a_line_and_exits_1_on_a_bad_file(trained, capsys, monkeypatch):
    source, run_folder, _, _ = trained
    photo = next(source.rglob("*.png"))
    bad = source.parent / "notes.jpg"
    bad.write_text("no picture")
    status, out, _ = run(capsys, monkeypatch, "classify", run_folder, photo, bad, "--json")
    good, failed = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert good["path"] == str(photo)
    assert sum(p["score"] for p in good["predictions"]) == pytest.approx(1, abs=1e-5)
    assert failed["path"] == str(bad)
    assert "no image" in failed["error"]


def test_classify_writes_a_table(trained, capsys, monkeypatch, tmp_path):
    source, run_folder, _, _ = trained
    photos = sorted(source.rglob("*.png"))[:3]
    table = tmp_path / "table.csv"
    status, out, _ = run(
        capsys, monkeypatch, "classify", run_folder, *photos, "--top", "1", "--csv", table
    )
    rows = list(csv.DictReader(table.open()))
    assert (status, out) == (0, "")
    assert [row["path"] for row in rows] == [str(photo) for photo in photos]
    assert all(0 < float(row["score_1"]) <= 1 and row["label_1"] for row in rows)


def test_evaluate_gives_the_accuracy_of_the_report(trained, capsys, monkeypatch):
    source, run_folder, result, _ = trained
    status, out, _ = run(capsys, monkeypatch, "evaluate", run_folder, source, "--json")
    assert status == 0
    assert json.loads(out)["accuracy"] == result["accuracy"]


def test_evaluate_says_that_its_own_source_has_changed(trained, capsys, monkeypatch, tmp_path):
    source, run_folder, _, _ = trained
    picture(0, 77).save(source / "across" / "more.png")
    try:
        status, out, err = run(capsys, monkeypatch, "evaluate", run_folder, source, "--json")
    finally:
        (source / "across" / "more.png").unlink()
    found = json.loads(out)
    assert (status, found["held_out"], err) == (0, False, f"note: {found['note']}\n")


ODD = os.fsdecode(b"caf\xe9\x1b[2J.png")


@pytest.fixture
def odd(tmp_path):
    """Stripes taken for another class, in files whose names are no UTF-8 and clear the screen."""
    draw_classes(tmp_path / "odd" / "train", each=2)
    draw_classes(tmp_path / "odd" / "test", each=2)
    across = tmp_path / "odd" / "test" / "across"
    for kind in (1, 2):
        picture(kind, 50).save(across / f"{kind}{ODD}")
    (across / f"3{ODD}").write_bytes(b"")
    return tmp_path / "odd"


def test_evaluate_prints_names_that_a_terminal_would_act_on(trained, odd, capsys, monkeypatch):
    _, run_folder, _, _ = trained
    status, out, err = run(capsys, monkeypatch, "evaluate", run_folder, odd)
    assert status == 0 and r"mistake: test/across/1caf\udce9\x1b[2J.png: across" in out
    assert r"skipped: test/across/3caf\udce9\x1b[2J.png: the file is empty" in err
    assert "\x1b" not in out + err


def test_classify_prints_and_writes_names_that_are_no_utf_8(
    trained, odd, capsys, monkeypatch, tmp_path
):
    _, run_folder, _, _ = trained
    photos = [odd / "test" / "across" / f"{number}{ODD}" for number in (1, 3)]
    status, out, err = run(capsys, monkeypatch, "classify", run_folder, *photos)
    assert status == 1 and r"1caf\udce9\x1b[2J.png: " in out and r"3caf\udce9\x1b[2J.png: " in err
    assert "\x1b" not in out + err
    table = tmp_path / "table.csv"
    status, _, _ = run(capsys, monkeypatch, "classify", run_folder, *photos, "--csv", table)
    assert status == 1 and table.read_bytes().count(b"caf\xe9\x1b[2J.png") == 2


@pytest.fixture
def spoiled(tmp_path):
    """A folder with one broken file and a test picture that is trained on."""
    for split, seed in (("train", 0), ("test", 50)):
        for kind, name in enumerate(("cat", "dog")):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for number in range(6):
                picture = photo(seed + 10 * kind + number)
                picture.save(tmp_path / "pets" / split / name / f"{number}.png")
    (tmp_path / "pets/train/dog/6.png").write_bytes(b"")
    photo(3).resize((80, 60)).save(tmp_path / "pets/test/cat/9.jpg", quality=80)
    return tmp_path / "pets"


def test_inspect_tells_counts_and_problems(spoiled, capsys, monkeypatch):
    status, out, err = run(capsys, monkeypatch, "inspect", spoiled, "--json")
    found = json.loads(out)
    assert (status, len(out.splitlines())) == (0, 1)
    assert found["source"] == str(spoiled) and len(found["revision"]) == 16
    assert (found["image_column"], found["label_column"]) == (None, None)
    assert found["splits"] == {"test": 13, "train": 13}
    assert found["classes"] == {"cat": 13, "dog": 13}
    assert found["problems"] == [
        {"where": "train/dog/6.png", "why": "the file is empty; save it anew"},
        {
            "where": "train/cat/3.png",
            "why": "nearly the same picture as test/cat/9.jpg, so the test would flatter",
        },
    ]
    assert {"counts", "sizes", "balance", "duplicates"} < set(found)
    assert "looked at 26 images" in err


def test_inspect_prints_a_table_and_what_is_wrong(spoiled, capsys, monkeypatch):
    status, out, _ = run(capsys, monkeypatch, "inspect", spoiled)
    shown = out.splitlines()
    assert (status, len(shown)) == (0, 9)
    assert shown[1:5] == [
        "class  test  train",
        "cat       7      6",
        "dog       6      7",
        "all      13     13",
    ]
    assert shown[7] == "problem: train/dog/6.png: the file is empty; save it anew"


def test_inspect_prints_names_that_are_not_unicode(spoiled, capsys, monkeypatch):
    broken = spoiled / "train/dog/6.png"
    broken.rename(broken.with_name(os.fsdecode(b"caf\xe9.png")))
    status, out, _ = run(capsys, monkeypatch, "inspect", spoiled)
    assert status == 0 and r"train/dog/caf\udce9.png" in out


def test_inspect_refuses_a_single_class(capsys, monkeypatch, tmp_path):
    source = draw_classes(tmp_path / "source", classes=("across",))
    status, out, err = run(capsys, monkeypatch, "inspect", source)
    assert (status, out) == (1, "")
    assert err == "error: expected at least 2 classes, found across; add images of another\n"


BAD = {
    "no command": ([], 2),
    "unknown command": (["paint"], 2),
    "no out": (["train", "digits"], 2),
    "no number": (["train", "digits", "--out", "R", "--seed", "x"], 2),
    "missing folder": (["train", "nowhere", "--out", "R"], 1),
    "missing folder of a path": (["train", "./no/where/", "--out", "R"], 1),
    "unknown id": (["train", "nobody/nothing", "--out", "R"], 1),
    "unknown optimizer": (["train", "digits", "--out", "R", "--optimizer", "adamz"], 2),
    "unknown block": (["train", "digits", "--out", "R", "--unfreeze", "block9"], 2),
    "unknown method": (["train", "digits", "--out", "R", "--method", "magic"], 2),
    "image size": (["train", "digits", "--out", "R", "--image-size", "7"], 2),
    "target": (["train", "digits", "--out", "R", "--target-accuracy", "90"], 2),
    "weights": (["train", "digits", "--out", "R", "--weights", "gone.safetensors"], 1),
    "no run": (["classify", "nowhere", "photo.jpg"], 1),
    "inspect nothing": (["inspect", "nowhere"], 1),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_clear_line(case, capsys, monkeypatch, tmp_path, hub):
    arguments, wanted = BAD[case]
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, monkeypatch, *arguments)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (status, out) == (wanted, "")
    assert len(errors) == 1
    assert "Traceback" not in err
    assert str(tmp_path) not in err
    assert not (tmp_path / "R").exists()


def test_ctrl_c_leaves_130_and_no_half_written_run(tmp_path):
    source = draw_classes(tmp_path / "source", each=40)
    out = tmp_path / "run"
    command = [sys.executable, "-m", "transfer", "train", str(source), "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--weights", "bundled", "--finetune-epochs", "500", "--image-size", "64"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    for line in process.stderr:
        if "Warm-up epoch 2" in line:
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.endswith("error: interrupted; nothing was kept\n")
    assert "Traceback" not in rest
    assert not out.exists()


def test_ctrl_c_with_resume_keeps_what_was_learned_and_the_same_command_goes_on(tmp_path):
    source = draw_classes(tmp_path / "source")
    out = tmp_path / "run"
    command = [sys.executable, "-m", "transfer", "train", str(source), "--out", str(out), *TINY]
    command += ["--head", "avg-8", "--unfreeze", "none", "--head-epochs", "3000", "--resume"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "Warm-up epoch 2" in line:
            break
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.endswith("error: interrupted; the same command goes on from here\n")
    assert "Traceback" not in rest
    assert (out / "checkpoint" / "training.safetensors").exists()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    told = next((line for line in process.stderr if "Resuming after" in line), "")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert told.startswith("Resuming after warm-up epoch ")


def test_an_interrupt_that_was_lost_comes_again_at_the_next_check():
    before = signal.getsignal(signal.SIGINT)
    with lasting_interrupt() as check:
        assert check() is False
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is before
