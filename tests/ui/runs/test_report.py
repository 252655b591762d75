import copy
from pathlib import Path

from transfer.runs.run import Run
from transfer.ui.runs.report import interval_bar, mistake_names, report

STAGE = {"accuracy": 0.5, "interval": [0.3, 0.7], "images": 4, "validation_accuracy": 0.6}
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
        "stages": {"features": STAGE, "warm-up": STAGE, "fine-tune": STAGE | {"accuracy": 0.75}},
        "classes": [
            {"label": n, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
            for n in ("ant", "bee")
        ],
        "confusion": [[1, 1], [1, 1]],
        "mistakes": [{"name": "a.jpg", "label": "ant", "predicted": "bee", "score": 0.9}],
    },
)


def test_it_tells_what_each_step_bought_where_the_body_is_from_and_each_class():
    page = report(RUN)
    assert page.index("features only") < page.index("after warm-up") < page.index("after fine-tune")
    assert "75.0%" in page and "30.0% to 70.0%" in page
    assert "bundled (asked for)" in page
    assert "1,026" in page and "123,642,856" in page
    assert "2 images or files were skipped" in page
    assert "1 of 2" in page and "Confusion matrix" in page


def test_an_interval_is_drawn_where_it_lies():
    bar = interval_bar("step", 0.5, [0.25, 0.75])
    assert "width:50.0%" in bar and "left:25.0%;width:50.0%" in bar


def test_of_many_classes_the_hardest_are_drawn_and_all_stand_in_the_table():
    run = copy.deepcopy(RUN)
    run.record["classes"] = [f"c{i}" for i in range(30)]
    run.report["classes"] = [
        {"label": f"c{i}", "precision": 0.5, "recall": 1 - i / 30, "f1": 0.5, "support": 30}
        for i in range(30)
    ]
    run.report["confusion"] = [[0] * 30 for _ in range(30)]
    bars, table = report(run).split("hardest classes")[1].split("<details>")
    assert ">c29<" in bars and ">c9<" not in bars
    assert all(f"<td>c{i}</td>" in table for i in range(30))


def test_names_of_mistakes_stand_for_their_pictures():
    assert "a.jpg" in mistake_names(RUN) and "90% sure" in mistake_names(RUN)
    run = copy.deepcopy(RUN)
    run.report["mistakes"] = []
    assert "No mistakes" in mistake_names(run)


def test_class_and_file_names_cannot_carry_markup():
    run = copy.deepcopy(RUN)
    run.record["classes"][0] = run.report["classes"][0]["label"] = "<script>"
    run.report["mistakes"][0]["name"] = "<script>"
    assert "<script>" not in report(run, "<script>") + mistake_names(run)
