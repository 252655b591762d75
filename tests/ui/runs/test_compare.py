from pathlib import Path

from transfer.runs.run import Run
from transfer.settings import HeadSettings, TrainingSettings
from transfer.ui.runs.compare import comparison

STAGE = {"accuracy": 0.5, "interval": [0.3, 0.7], "images": 4}


def run(recalls: dict[str, float], accuracy: float = 0.5, **record) -> Run:
    settings = TrainingSettings(image_size=64, head=HeadSettings(pooling="avg", hidden=()))
    result = {"weights": "bundled", "head_parameters": 1026, "seconds": 30.0}
    known = {"source": "digits", "revision": "1", "seed": 0, "settings": settings.to_json()}
    return Run(
        path=Path("runs/x"),
        record=known | {"classes": list(recalls), "result": result} | record,
        report={
            "accuracy": accuracy,
            "images": 400,
            "stages": {"features": STAGE, "warm-up": STAGE | {"accuracy": accuracy}},
            "classes": [{"label": name, "recall": recall} for name, recall in recalls.items()],
        },
    )


ONE = run({"bee": 0.9, "ant": 0.5})
OTHER = run({"bee": 0.8, "ant": 0.8}, 0.75)


def test_runs_stand_side_by_side_with_differences_from_the_first():
    page = comparison([("<b>one</b>", ONE), ("two", OTHER), ("three", OTHER)])
    assert page.count("<li>") == 6 and "After fine-tuning" not in page and "<b>one" not in page
    assert "75.0%" in page and "3 of 4" in page and "1,026" in page
    assert page.count('80% <span class="better">+30</span>') == 2
    assert page.count('80% <span class="worse">-10</span>') == 2
    assert page.index(">ant<") < page.index(">bee<"), "the largest difference first"
