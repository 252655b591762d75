from dataclasses import replace

from tests.data.checks.pictures import copied, photo, photos, source
from transfer.data.checks.inspect import inspect
from transfer.data.checks.summary import report_lines
from transfer.data.dataset import DataIssue

TRAIN = photos("cat", range(6)) + photos("dog", range(10, 16))


def test_a_report_has_a_table_sizes_and_duplicates():
    test = [("cat", copied(photo(0), 0.5)), ("dog", photo(10)), ("dog", b"")]
    test.append(("cat", photo(30, 30, 300)))
    shown = list(report_lines(inspect(source(train=TRAIN, test=test))))
    assert shown[:3] == ["here (revision 1)", "class  train  test", "cat        6     2"]
    assert shown[5].startswith("sides: 30 to 300 px, median of the shorter ones 90 px, 1 tiny")
    assert shown[6].startswith("duplicates: 2 groups, 1 of them exact copies, 2 in training and")


def test_long_lists_are_cut_and_names_escaped():
    found = inspect(source(train=TRAIN))
    empty = [(f"{number}.jpg", "the file is empty") for number in range(7)]
    others = [(f"c\r{number}", f"reason\x07 {number}") for number in range(45)]
    issues = tuple(DataIssue(where, why) for where, why in [*empty, *others])
    counts = {f"class {number}": {"train": 1} for number in range(44)} | {"b\ud8e9": {"train": 1}}
    shown = list(report_lines(replace(found, source="a\x1b[2J", counts=counts, problems=issues)))
    assert shown[0].startswith(r"a\x1b[2J")
    assert shown[42:44] == ["… and 5 more classes", "all          45"]
    assert "problem: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 2 more: the file is empty" in shown
    assert r"problem: c\r0: reason\x07 0" in shown
    assert shown[-1].startswith("… and 6 more kinds of problems")
