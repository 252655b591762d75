from dataclasses import replace

from tests.data.checks.pictures import copied, photo, photos, source
from transfer.data.checks.inspect import described, inspect
from transfer.data.dataset import DataIssue

TRAIN = photos("cat", range(6)) + photos("dog", range(10, 16))


def lines(findings) -> list[str]:
    return list(described(findings))


def findings(**splits):
    return inspect(source(**({"train": TRAIN} | splits)))


def test_a_table_of_classes_and_splits():
    shown = lines(findings(test=photos("dog", range(30, 40))))
    assert shown[0] == "here (revision 1)"
    assert shown[1:5] == [
        "class  train  test",
        "cat        6     0",
        "dog        6    10",
        "all       12    10",
    ]


def test_sizes_and_duplicates_are_a_line_each():
    shown = lines(findings(test=[("cat", copied(photo(0), 0.5)), ("dog", photo(10)), ("dog", b"")]))
    assert shown[5].startswith("sides: 45 to 120 px")
    assert shown[6] == (
        "the same picture twice: 2 groups, 1 of them the same to the pixel, 2 in training and "
        "held out, 0 of two classes; not compared for likeness, as flat, tiny or unreadable: 1"
    )


def test_without_duplicates_and_without_sizes():
    assert lines(findings())[-1] == "the same picture twice: none"
    nothing = inspect(source(train=[("cat", b""), ("dog", b"")]))
    assert not any("sides" in line for line in lines(nothing))


def test_odd_sizes_are_in_the_line_of_sizes():
    shown = lines(findings(test=[("cat", photo(30, 30, 300))]))
    assert shown[5].endswith("1 tiny, 1 very long")


def test_sizes_that_are_all_the_same_are_said_once():
    square = inspect(source(train=[("cat", photo(0, 30, 30)), ("dog", photo(1, 30, 30))]))
    assert lines(square)[5] == "sides: all 30 px, 2 tiny"


def problems(*pairs):
    told = tuple(DataIssue(where=where, why=why) for where, why in pairs)
    return [line for line in lines(replace(findings(), problems=told)) if line[:2] in ("pr", "… ")]


def test_problems_of_one_reason_share_a_line():
    many = [(f"{number}.jpg", "the file is empty") for number in range(7)]
    assert problems(("a.txt", "no image"), *many, ("b.txt", "no image")) == [
        "problem: a.txt, b.txt: no image",
        "problem: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 2 more: the file is empty",
    ]


def test_of_very_many_reasons_the_first_are_shown():
    shown = problems(*((f"{number}", f"reason {number}") for number in range(45)))
    assert len(shown) == 41
    assert shown[-1].startswith("… and 5 more")


def test_of_very_many_classes_the_first_are_shown():
    names = [f"class {number}" for number in range(45)]
    found = findings()
    shown = lines(replace(found, counts={name: {"train": 1} for name in names}))
    assert shown[40].startswith("class 38")
    assert shown[42:44] == ["… and 5 more classes", "all          45"]
    assert not any(line.startswith("… and") for line in lines(found))


def test_names_that_a_terminal_would_act_on_or_cannot_print_are_escaped():
    found = replace(findings(), source="a\x1b[2J", counts={"b\ud8e9\n": {"train": 1}})
    shown = "\n".join(lines(found)) + "".join(problems(("c\r", "d\x07é")))
    assert "\x1b" not in shown and "\ud8e9" not in shown and "\r" not in shown
    assert r"a\x1b[2J" in shown and r"b\ud8e9\n" in shown and r"c\r: d\x07é" in shown
