import re

from tests.ui.runs.test_report import RUN
from transfer.runs.run import Run
from transfer.ui.runs.confusion import MOST_CLASSES, confusion


def of(counts: list[list[int]]) -> str:
    names = [f"class {i}" for i in range(len(counts))]
    report = RUN.report | {"confusion": counts}
    return confusion(Run(path=RUN.path, record=RUN.record | {"classes": names}, report=report))


def test_rows_are_the_true_classes_and_colours_tell_right_from_wrong():
    page = of([[3, 1], [0, 4]])
    assert re.findall(r'<td class="(right|wrong)" style="--share:(.*?)"', page) == [
        ("right", "0.75"), ("wrong", "0.25"), ("right", "1.00"),
    ]  # fmt: skip
    assert 'title="class 0 predicted as class 1: 1 of 4"' in page and page.count("<td></td>") == 1
    assert "7 of 8 test images are classified correctly." in page


def test_the_most_frequent_mistake_comes_first():
    page = of([[5, 1, 0], [0, 2, 4], [0, 0, 6]])
    assert page.index("class 1 predicted as class 2 (4 of 6)</li>") < page.index(
        "class 0 predicted"
    )
    assert "confused" not in of([[1, 0], [0, 1]])
    many = [[0] * (MOST_CLASSES + 1) for _ in range(MOST_CLASSES + 1)]
    many[3][7] = 9
    assert "<table" not in of(many) and "class 3 predicted as class 7 (9 of 9)" in of(many)
