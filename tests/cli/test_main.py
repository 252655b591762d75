import contextlib
import csv
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import orjson
import pytest

from tests.data.checks.pictures import photo
from tests.test_events import EXAMPLES
from tests.tiny import draw_classes, picture
from transfer import __version__
from transfer.cli import main as cli
from transfer.cli.interrupt import lasting_interrupt
from transfer.events import RunSaved
from transfer.formatting import encodable
from transfer.settings import Correction, HeadSettings, PhaseSettings, TrainingSettings

ODD = os.fsdecode(b"caf\xe9\x1b[2J.png")  # not UTF-8, and it would clear the screen


def run(capsys, monkeypatch, *arguments):
    """(status, stdout, stderr) of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["transfer", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


@pytest.fixture
def command(capsys, monkeypatch):
    return lambda *arguments: run(capsys, monkeypatch, *arguments)


def test_train_prints_its_contract_as_the_last_line(command, tmp_path):
    source, out = draw_classes(tmp_path / "source", each=6), tmp_path / "run"
    options = ["--weights", "bundled", "--image-size", 32, "--head", "avg-8"]
    options += ["--head-epochs", 2, "--finetune-epochs", 1]
    status, printed, err = command("train", source, "--out", out, *options, "--json")
    result = json.loads(printed.splitlines()[-1])
    assert (status, result["run"], result["weights"]) == (0, str(out), "bundled")
    names = [phase["name"] for phase in result["phases"]]
    assert names == ["cache", "features", "warm-up", "fine-tune"]
    assert result["original_head_parameters"] == 123_642_856 > 50 * result["head_parameters"]
    low, high = result["accuracy_interval"]
    assert 0 <= low <= result["accuracy"] <= high <= 1
    assert result["balanced_accuracy"] == pytest.approx(result["accuracy"])  # classes of one size
    assert result["peak_rss_bytes"] > 100e6
    assert "Warm-up epoch 1/2" in err and "left" in err
    assert err.splitlines()[-1] == f"next: python -m transfer classify {out} PHOTO_OR_FOLDER"


@pytest.fixture
def trained_with(monkeypatch):
    """What `training_events` was called with; nothing is trained."""
    calls = []

    def training_events(source, *, should_stop, **options):
        calls.append((source, options))
        yield next(event for event in EXAMPLES if isinstance(event, RunSaved))

    monkeypatch.setattr("transfer.training.recipe.training_events", training_events)
    return calls


def test_every_option_of_train_becomes_a_setting(command, trained_with, tmp_path):
    options = "--method finetune --weights random --image-size 64 --head flatten-16 --seed 7"
    options += " --precision fp32 --no-class-weights --effort quick --unfreeze block4 --resume"
    options += " --head-epochs 3 --finetune-epochs 4 --head-lr 0.1 --finetune-lr 0.2"
    options += " --optimizer sgd --target-accuracy 0.9 --limit-per-class 5 --image-column i"
    options += " --label-column l --config c --folds 4 --others o --corrections"
    corrections = tmp_path / "corrections.json"
    corrections.write_text('{"corrections": [{"where": "a", "label": "b"}]}')
    assert command("train", "digits", "--out", "R", *options.split(), corrections)[0] == 0
    settings = TrainingSettings(
        **{"weights": "random", "image_size": 64, "seed": 7, "precision": "fp32"},
        head=HeadSettings(pooling="flatten", hidden=(16,)),
        **{"try_heads": False, "class_weights": False, "effort": "quick", "unfreeze": "block4"},
        warm_up=PhaseSettings(epochs=3, learning_rate=0.1, optimizer="sgd"),
        fine_tune=PhaseSettings(epochs=4, learning_rate=0.2, optimizer="sgd"),
        **{"target_accuracy": 0.9, "limit_per_class": 5},
        **{"image_column": "i", "label_column": "l", "config": "c", "folds": 4, "others": "o"},
        corrections=(Correction(where="a", label="b"),),
    )
    ((source, found),) = trained_with
    assert (source, found["settings"], found["resume"]) == ("digits", settings, True)
    defaults = dataclasses.asdict(TrainingSettings())
    unused = {k for k, v in dataclasses.asdict(settings).items() if v == defaults[k]}
    assert unused == {"method", "architecture", "views"}  # no options, but for --method


def test_classify_prints_one_object_a_line_and_exits_with_1_on_a_bad_file(
    run, command, stripes, tmp_path
):
    good, bad = next(stripes.rglob("*.png")), tmp_path / "notes.jpg"
    bad.write_text("no picture")
    status, out, _ = command("classify", run.path, good, bad, "--json")
    found, failed = [json.loads(line) for line in out.splitlines()]
    assert status == 1 and (found["path"], failed["path"]) == (str(good), str(bad))
    assert sum(p["score"] for p in found["predictions"]) == pytest.approx(1, abs=1e-5)
    assert "not an image" in failed["error"]
    _, out, _ = command("classify", run.path, good.parent, "--json")
    listed = [json.loads(line)["path"] for line in out.splitlines()]
    assert listed == sorted(map(str, good.parent.glob("*.png"))) and len(listed) > 1
    (tmp_path / "empty").mkdir()
    status, _, err = command("classify", run.path, tmp_path / "empty")
    assert status == 1 and "expected images in the folder 'empty', found none" in err


def test_classify_writes_a_table(run, command, stripes, tmp_path):
    photos, table = sorted(stripes.rglob("*.png"))[:3], tmp_path / "table.csv"
    status, out, _ = command("classify", run.path, *photos, "--top", "1", "--csv", table)
    rows = list(csv.DictReader(table.open()))
    assert (status, out) == (0, "")
    assert [row["path"] for row in rows] == [str(photo) for photo in photos]
    assert all(0 < float(row["score_1"]) <= 1 and row["label_1"] for row in rows)


def test_evaluate_gives_the_report_s_accuracy_and_notes_a_changed_source(run, command, stripes):
    status, out, err = command("evaluate", run.path, stripes, "--json")
    assert (status, json.loads(out)["accuracy"]) == (0, run.accuracy)
    assert err.splitlines()[-1] == f"Evaluated {run.report['images']} images"
    assert "of" in err.splitlines()[0]
    added = stripes / "across" / "more.png"
    picture(0, 77).save(added)
    try:
        _, out, err = command("evaluate", run.path, stripes, "--json")
    finally:
        added.unlink()
    found = json.loads(out)
    assert found["held_out"] is False and err.endswith(f"note: {found['note']}\n")


def test_uneven_classes_are_judged_by_balanced_accuracy_too(run, command, tmp_path):
    folder = draw_classes(tmp_path / "split" / "test", each=2).parent
    draw_classes(folder / "train", each=4)
    _, out, _ = command("evaluate", run.path, folder)
    assert "balanced" not in out
    for number in range(2, 6):
        picture(0, number).save(folder / "test" / "across" / f"{number}.png")
    _, out, _ = command("evaluate", run.path, folder)
    recalls = [float(recall) for recall in re.findall(r" recall ([\d.]+),", out)]
    balanced = float(re.search(r"balanced accuracy ([\d.]+)%,", out)[1]) / 100
    assert balanced == pytest.approx(sum(recalls) / 3, abs=1e-3)


def test_memory_that_runs_out_anywhere_is_one_line(command, monkeypatch):
    def load(run):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr("transfer.inference.loading.load", load)
    status, _, err = command("classify", "somewhere", "a.png")
    assert (
        status == 1
        and err.startswith("error: there was not enough memory")
        and "\n" not in err[:-1]
    )


def test_names_that_a_terminal_would_act_on_are_escaped(run, command, tmp_path):
    """Stripes of another class, in files with odd names."""
    draw_classes(tmp_path / "odd" / "train", each=2)
    across = draw_classes(tmp_path / "odd" / "test", each=2) / "across"
    for kind in (1, 2):
        picture(kind, 50).save(across / f"{kind}{ODD}")
    (across / f"3{ODD}").write_bytes(b"")
    status, out, err = command("evaluate", run.path, tmp_path / "odd")
    assert status == 0 and r"mistake: test/across/1caf\udce9\x1b[2J.png: across predicted" in out
    assert r"skipped: test/across/3caf\udce9\x1b[2J.png: the file is empty" in err
    assert "\x1b" not in out + err
    photos = [across / f"{number}{ODD}" for number in (1, 3)]
    status, out, err = command("classify", run.path, *photos)
    assert status == 1 and r"1caf\udce9\x1b[2J.png: " in out and r"3caf\udce9\x1b[2J.png: " in err
    assert "\x1b" not in out + err
    _, out, _ = command("classify", run.path, *photos, "--json")
    found = [orjson.loads(line)["path"] for line in out.splitlines()]  # takes no half characters
    assert found == [encodable(str(photo)) for photo in photos]
    command("classify", run.path, *photos, "--csv", tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes().count(b"caf\xe9\x1b[2J.png") == 2


def test_labels_of_older_runs_that_are_not_utf_8_are_written(run, command, stripes, tmp_path):
    older = shutil.copytree(run.path, tmp_path / "older")
    record = json.loads((older / "run.json").read_text())
    record["classes"][0] = "cat \ud83d"
    (older / "run.json").write_text(json.dumps(record))
    photo, table = next(stripes.rglob("*.png")), tmp_path / "table.csv"
    assert command("classify", older, photo, "--csv", table)[0] == 0
    assert rb"cat \ud83d" in table.read_bytes()


@pytest.fixture
def spoiled(tmp_path):
    """A folder with one broken file and a test picture that is also trained on."""
    for split, seed in (("train", 0), ("test", 50)):
        for kind, name in enumerate(("cat", "dog")):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for number in range(6):
                drawn = photo(seed + 10 * kind + number)
                drawn.save(tmp_path / "pets" / split / name / f"{number}.png")
    (tmp_path / "pets/train/dog" / ODD).write_bytes(b"")
    photo(3).resize((80, 60)).save(tmp_path / "pets/test/cat/9.jpg", quality=80)
    return tmp_path / "pets"


def test_inspect_reports_counts_and_problems(spoiled, command):
    status, out, err = command("inspect", spoiled, "--json")
    found = json.loads(out)
    assert (status, len(out.splitlines())) == (0, 1)
    assert found["source"] == str(spoiled) and len(found["revision"]) == 16
    assert (found["image_column"], found["label_column"]) == (None, None)
    assert found["splits"] == {"test": 13, "train": 13}
    assert found["classes"] == {"cat": 13, "dog": 13}
    broken, twice = found["problems"]
    assert broken == {
        "where": f"train/dog/{encodable(ODD)}",
        "why": "the file is empty; save it again",
    }
    assert twice["where"] == "train/cat/3.png" and "test/cat/9.jpg" in twice["why"]
    assert {"counts", "sizes", "balance", "duplicates"} < set(found)
    assert "Checked 26 images" in err


def test_inspect_prints_a_table_and_the_problems(spoiled, command):
    status, out, _ = command("inspect", spoiled)
    table = ["class  test  train", "cat       7      6", "dog       6      7", "all      13     13"]
    assert status == 0 and out.splitlines()[1:5] == table
    assert r"problem: train/dog/caf\udce9\x1b[2J.png: the file is empty" in out


BAD = {
    "no number": (["train", "digits", "--out", "R", "--seed", "x"], 2),
    "unknown optimizer": (["train", "digits", "--out", "R", "--optimizer", "adamz"], 2),
    "missing tracker": (["train", "digits", "--out", "R", "--track", "trakio"], 2),
    "unknown block": (["train", "digits", "--out", "R", "--unfreeze", "block9"], 2),
    "missing folder": (["train", "./no/where/", "--out", "R"], 1),
    "unknown id": (["train", "nobody/nothing", "--out", "R"], 1),
    "weights": (["train", "digits", "--out", "R", "--weights", "gone.safetensors"], 1),
    "no run": (["classify", "nowhere", "photo.jpg"], 1),
    "inspect nothing": (["inspect", "nowhere"], 1),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_clear_line(case, command, monkeypatch, tmp_path, hub):
    arguments, wanted = BAD[case]
    monkeypatch.chdir(tmp_path)
    status, out, err = command(*arguments)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (status, out, len(errors)) == (wanted, "", 1)
    assert "Traceback" not in err and str(tmp_path) not in err
    assert not (tmp_path / "R").exists()


def test_ctrl_c_ends_with_130_and_the_checkpoint_stays(tmp_path):
    source, out = draw_classes(tmp_path / "source"), tmp_path / "run"
    arguments = [sys.executable, "-m", "transfer", "train", str(source), "--out", str(out)]
    arguments += ["--weights", "bundled", "--image-size", "32", "--limit-per-class", "6"]
    arguments += ["--head", "avg-8", "--unfreeze", "none", "--head-epochs", "3000", "--resume"]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "Warm-up epoch 2" in line:
            break
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in rest
    assert rest.endswith("error: interrupted; run the same command again to resume\n")
    assert (out / "checkpoint").is_dir() and not (out / "run.json").exists()


def test_a_lost_interrupt_is_raised_again_at_the_next_check():
    before = signal.getsignal(signal.SIGINT)
    with lasting_interrupt() as check:
        assert check() is False
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is before


def test_without_resume_ctrl_c_says_that_nothing_was_saved(command, monkeypatch):
    def training_events(*_, **__):
        yield signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("transfer.training.recipe.training_events", training_events)
    status, out, err = command("train", "digits", "--out", "R")
    assert (status, out) == (130, "") and err.endswith("error: interrupted; nothing was saved\n")


def test_without_a_command_there_is_help(command):
    status, printed, err = command()
    assert status == 0 and "classify" in printed and err == ""
    assert command("--version")[:2] == (0, f"transfer {__version__}\n")
    assert "quick|balanced|thorough" in command("train", "--help")[1]
