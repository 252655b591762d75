import xml.etree.ElementTree as ElementTree

import pytest

from tests.ui.runs.test_report import RUN
from transfer.runs.run import Run
from transfer.ui.runs.confusion import READABLE, cell_side, confusion


def of(counts: list[list[int]], names=None) -> Run:
    names = names or [f"class {i}" for i in range(len(counts))]
    report = RUN.report | {"confusion": counts}
    return Run(path=RUN.path, record=RUN.record | {"classes": names}, report=report)


def drawn(page: str) -> ElementTree.Element:
    return next(ElementTree.fromstring(f"<p>{page}</p>").iter("svg"))


def test_rows_are_the_truth_and_right_answers_are_told_from_wrong_ones():
    svg = drawn(confusion(of([[3, 1], [0, 4]], ["ant", "bee"])))
    told = {title.text for title in svg.iter("title")}
    assert {"ant taken for ant: 3 of 4", "ant taken for bee: 1 of 4"} <= told
    assert "bee taken for ant: 0 of 4" not in told
    kinds = [rect.get("class") for rect in svg.iter("rect")]
    assert kinds == ["right", "wrong", "none", "right"]
    assert "7 of 8 test images are right" in svg.get("aria-label")


@pytest.mark.parametrize("classes", [2, 10, READABLE])
def test_every_cell_and_label_lies_inside(classes):
    counts = [[int(i == j) for j in range(classes)] for i in range(classes)]
    svg = drawn(confusion(of(counts, [f"a very long name {i}" for i in range(classes)])))
    width, height = map(float, svg.get("viewBox").split()[2:])
    for rect in svg.iter("rect"):
        assert float(rect.get("x")) + cell_side(classes) <= width + 2
        assert float(rect.get("y")) + cell_side(classes) <= height + 2
    assert len(list(svg.iter("rect"))) == classes**2


def test_what_is_mixed_up_most_comes_first():
    page = confusion(of([[5, 1, 0], [0, 2, 4], [0, 0, 6]]))
    assert "Mixed up most: class 1 taken for class 2 (4 of 6); class 0 taken for class 1" in page
    assert "Nothing was mixed up" in confusion(of([[1, 0], [0, 1]]))


def test_too_many_classes_to_read_are_told_by_their_worst_pairs():
    classes = READABLE + 1
    counts = [[0] * classes for _ in range(classes)]
    counts[3][7] = 9
    page = confusion(of(counts))
    assert "<svg" not in page and "class 3 taken for class 7 (9 of 9)" in page


def test_class_names_cannot_carry_markup():
    assert "<script>" not in confusion(of([[1, 1], [0, 1]], ["<script>", "b"]))
