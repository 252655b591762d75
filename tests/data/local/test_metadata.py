import json

import pytest

from transfer.data.local.metadata import read_table
from transfer.errors import SourceError


def refusal(data: bytes, name: str = "metadata.csv", column: str | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        read_table(name, data, column)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read(text: str, column: str | None = None, name: str = "metadata.csv"):
    rows, column, guesses = read_table(name, text.encode(), column)
    return [(row.file, row.label) for row in rows], column, [guess.why for guess in guesses]


@pytest.mark.parametrize(
    ("start", "sign", "end"),
    [
        ("\ufeff", ";", "\r\n"),
        ("", "\t", "\n"),
        ("\ufeffsep=;\r\n", ";", "\r\n"),
        ("SEP=|\n", "|", "\n"),
    ],
)
def test_a_csv_is_read_however_it_was_saved(start, sign, end):
    lines = (f"file_name{sign}label", f"a.png{sign}cat", f'"b c.png"{sign}dog', f"{sign}x", "")
    rows, column, guesses = read(start + end.join(lines))
    assert rows == [("a.png", "cat"), ("b c.png", "dog")]
    assert (column, guesses) == ("label", [])


def test_json_lines_are_read():
    lines = [{"file_name": "a.png", "label": 3}, {"file_name": "b.png", "label": None}]
    text = "\n\n".join(json.dumps(line) for line in lines)
    text += '\n{"file_name": "c.png", "label": "x", "text": "one\u2028two"}\r\n'
    rows, column, _ = read(text, name="METADATA.JSONL")
    assert rows == [("a.png", "3"), ("b.png", None), ("c.png", "x")] and column == "label"


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        ((" ", "\t", "nan", "NaN", "\u200b", "ab"), [None] * 5 + ["ab"]),
        (("0.0", "1.", "0", "-2.0"), ["0", "1", "0", "-2"]),
        (("v1.0", "1.5", "None"), ["v1.0", "1.5", "None"]),
        (("Ka\u0308fer", "K\u00e4fer", " K\u00e4\u200bfer "), ["K\u00e4fer"] * 3),
    ],
)
def test_labels_are_those_of_a_column_of_the_hub(cells, labels):
    text = "file_name,class_name\n" + "".join(f"{i}.png,{cell}\n" for i, cell in enumerate(cells))
    rows, column, _ = read(text)
    assert column == "class_name" and [label for _, label in rows] == labels


def test_json_numbers_are_those_of_a_column_of_the_hub():
    values = ("NaN", "1.0", "0", "null", "true", '""')
    lines = (f'{{"file": "{i}.png", "label": {value}}}\n' for i, value in enumerate(values))
    rows, _, _ = read("".join(lines), name="metadata.jsonl")
    assert [label for _, label in rows] == [None, "1", "0", None, "True", None]


@pytest.mark.parametrize(
    ("column", "cells", "splits"),
    [
        ("split", "train,Test,", ["train", "Test", ""]),
        ("is_valid", "True,0,1.0", ["validation", "train", "validation"]),
        ("size", "1,2,3", [None] * 3),
    ],
)
def test_a_column_of_splits_is_no_label(column, cells, splits):
    lines = "".join(f"{i}.png,{cell},cat\n" for i, cell in enumerate(cells.split(",")))
    table = f"file,{column},label\n{lines}".encode()
    rows, label, _ = read_table("metadata.csv", table, None)
    assert ([row.split for row in rows], label) == (splits, "label")
    only = f"file,{column}\n0.png,train\n1.png,test\n2.png,test\n3.png,train"
    assert read(only)[1] == column and read(only, column)[0][0] == ("0.png", "train")


def test_the_label_column_is_named_known_or_the_only_other_one():
    text = "file_name,label,species\na.png,cat,felis\n"
    assert read(text)[0] == [("a.png", "cat")]
    assert read(text, "species")[:2] == ([("a.png", "felis")], "species")
    rows, column, guesses = read("file,animal\na.png,cat\n")
    assert (rows, column) == ([("a.png", "cat")], "animal")
    assert guesses == ["taken as the label: the only other column"]


def test_captions_are_not_used_as_labels():
    rows = "".join(f"{i}.png,a photo of bee {i}\n" for i in range(9))
    message = refusal(b"file_name,text\n" + rows.encode())
    assert "'text' with 9 values in 9 rows" in message and "--label-column text" in message
    assert read("file_name,text\n" + rows, "text")[1] == "text"


GOOD = b'{"file_name": "a.png", "label": "x"}\n'


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("metadata.csv", b"file_name,label\n", "found none; add rows"),
        ("metadata.csv", b"a.png,cat\nb.png,dog\n", "a column file_name"),
        ("metadata.csv", b"file_name,label\na.png,1\nb.png,2.5\n", "found decimals"),
        ("metadata.csv", b"file_name,kind,size\na.png,cat,3\n", "pass --label-column"),
        ("metadata.csv", "file_name,label\ncafé.png,x\n".encode("latin-1"), "UTF-8"),
        ("metadata.jsonl", GOOD + b"[" * 100_000, "line 2"),
        ("metadata.jsonl", b'{"file_name": "a.png", "label": ["x", "y"]}', "one label an image"),
    ],
)
def test_what_is_no_table_is_refused(name, data, words):
    assert words in refusal(data, name)
