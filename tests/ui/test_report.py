import copy
from pathlib import Path

from transfer.run_folder import Run
from transfer.ui.report import report

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


def test_it_tells_what_each_step_bought_where_the_body_is_from_and_the_mistakes():
    page = report(RUN)
    assert page.index("features only") < page.index("after warm-up") < page.index("after fine-tune")
    assert "75.0%" in page
    assert "bundled (asked for)" in page
    assert "1,026" in page and "123,642,856" in page
    assert "2 images or files were skipped" in page
    assert "a.jpg" in page and "90% sure" in page


def test_class_and_file_names_cannot_carry_markup():
    run = copy.deepcopy(RUN)
    run.record["classes"][0] = run.report["classes"][0]["label"] = "<script>"
    run.report["mistakes"][0]["name"] = "<script>"
    assert "<script>" not in report(run)


def test_a_confusion_matrix_too_large_to_read_is_left_out():
    assert "truth" in report(RUN)
    run = copy.deepcopy(RUN)
    run.record["classes"] = [str(i) for i in range(21)]
    assert "truth" not in report(run)
