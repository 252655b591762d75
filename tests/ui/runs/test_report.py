import copy
import html
import re
from dataclasses import replace
from pathlib import Path

from transfer.runs.run import Run
from transfer.ui.runs.confusion import confusion
from transfer.ui.runs.report import report

STAGE = {"accuracy": 0.5, "interval": [0.25, 0.75], "images": 4, "validation_accuracy": 0.6}
RUN = Run(
    path=Path("runs/x"),
    record={
        "classes": ["ant", "bee"],
        "result": {
            "weights": "bundled",
            "weights_reason": "asked for",
            "head_parameters": 1026,
            "original_head_parameters": 123642856,
            "images": {"skipped": 2},
        },
    },
    report={
        "images": 4,
        "accuracy": 0.5,
        "stages": {"features": STAGE, "warm-up": STAGE, "fine-tune": STAGE | {"accuracy": 0.875}},
        "classes": [
            {"label": n, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
            for n in ("ant", "bee")
        ],
        "confusion": [[1, 1], [1, 1]],
        "mistakes": [{"name": "a.jpg", "label": "ant", "predicted": "bee", "score": 0.9}],
    },
)


def test_a_report_has_every_phase_the_sizes_and_each_class():
    page = report(RUN, "x")
    assert page.index("Features only") < page.index("After warm-up") < page.index("After fine-t")
    assert "4 of 4" in page and "25% to 75%" in page and "left:25.0%;width:50.0%" in page
    for text in ("bundled (asked for)", "1,026", "123,642,856", "2 images or files", "1 of 2"):
        assert text in page
    assert "Confusion matrix" in page and "Head search" not in page
    assert "each block" not in page
    probes = {"images": 99, "accuracy": {"block4": 0.8, "block5": 0.81}, "no_gain": ["block5"]}
    page = report(replace(RUN, report=RUN.report | {"block_probes": probes}), "x")
    assert "99 training images: block4 80.0%, block5 81.0%; no certain gain from block5" in page


def test_a_report_says_how_each_phase_ended_and_what_of_it_is_saved():
    warm_up = {"name": "warm-up", "epochs": 12, "best_epoch": 11, "ended": "stopped"}
    fine_tune = {"name": "fine-tune", "epochs": 4, "best_epoch": 0, "ended": "epoch limit"}
    partly = fine_tune | {"best_epoch": 4, "share": 0.5}
    phases = [{"name": "cache", "epochs": 0}, warm_up, fine_tune, partly]
    page = report(replace(RUN, record=RUN.record | {"phases": phases}), "x")
    assert "<li>Warm-up: 12 epochs, stopped; epoch 11 is saved.</li>" in page
    assert "<li>Fine-tune: 4 epochs, epoch limit; nothing of it is saved.</li>" in page
    assert "50% of the way to epoch 4 is saved" in page and "Cache" not in page


def test_a_run_can_be_used_outside_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = replace(RUN, path=tmp_path / "runs" / 'a "b" <c>')
    page = html.unescape(report(here, "x"))
    assert r'transfer.load("runs/a \"b\" <c>")' in page
    assert "python -m transfer classify 'runs/a \"b\" <c>' photo.jpg" in page
    assert str(tmp_path.parent / "x") in report(replace(RUN, path=tmp_path.parent / "x"), "x")
    monkeypatch.setenv("TRANSFER_SHARED", "1")
    page = report(replace(RUN, path=tmp_path / "runs" / "mine"), "x")
    assert "transfer.load(&quot;mine&quot;)" in page and "Download the run as a zip" in page
    assert str(tmp_path) not in page and "runs/" not in page


def test_balanced_accuracy_is_shown_where_classes_are_uneven_and_known():
    stages = {"features": STAGE | {"balanced_accuracy": 0.432}, "warm-up": STAGE}
    uneven = replace(RUN, report=RUN.report | {"stages": stages, "uneven": True})
    assert "43.2%" in report(uneven, "x")
    even = replace(RUN, report=uneven.report | {"uneven": False})
    assert "Balanced" not in report(RUN, "x") + report(even, "x")


def test_cross_validation_is_one_line_where_it_was_done():
    found = {"folds": 5, "accuracy": 0.922, "interval": [0.882, 0.95], "images": 1245}
    page = report(replace(RUN, report=RUN.report | {"cross_validation": found}), "x")
    line = "5 folds: 92.2% (88.2% to 95.0%) on 1,245 training and validation images; fine-tune is"
    assert line in page and "folds" not in report(RUN, "x")


def test_the_chosen_head_stands_out_and_names_are_escaped():
    run = copy.deepcopy(RUN)
    figures = {"dropout": 0.5, "optimizer": "adam", "learning_rate": 0.01, "parameters": 9}
    run.report["heads"] = [
        figures | {"head": name, "validation_loss": loss, "validation_accuracy": 0.5, "chosen": ok}
        for name, loss, ok in (("avg", 0.9, True), ("flatten", 0.8, False))
    ]
    run.record["classes"][0] = run.report["classes"][0]["label"] = "<script>"
    page = report(run, "<script>")
    assert page.index(">flatten<") < page.index('class=chosen><th scope="row">avg<')
    assert "<script>" not in page


def test_rows_are_the_true_classes_and_colours_tell_right_from_wrong():
    page = confusion(replace(RUN, report=RUN.report | {"confusion": [[3, 1], [0, 4]]}))
    assert re.findall(r'<td class="(right|wrong)" style="--share:(.*?)"', page) == [
        ("right", "0.75"), ("wrong", "0.25"), ("right", "1.00"),
    ]  # fmt: skip
    assert 'title="ant predicted as bee: 1 of 4"' in page and page.count("<td></td>") == 1
