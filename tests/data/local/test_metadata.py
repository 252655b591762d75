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
    rows, column, told = read_table(name, text.encode(), column)
    return [(file, label) for _, file, label in rows], column, [problem.why for problem in told]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_csv_is_read_however_it_was_saved(end, sign, start):
    lines = (f"file_name{sign}label", f"a.png{sign}cat", f'"b c.png"{sign}dog', "")
    rows, column, told = read(start + end.join(lines))
    assert rows == [("a.png", "cat"), ("b c.png", "dog")]
    assert (column, told) == ("label", [])


def test_json_lines_are_read():
    lines = [{"file_name": "a.png", "label": 3}, {"file_name": "b.png", "label": None}]
    text = "\n\n".join(json.dumps(line) for line in lines)
    rows, column, _ = read(text, name="metadata.jsonl")
    assert rows == [("a.png", "3"), ("b.png", None)] and column == "label"


def test_other_columns_do_no_harm_and_one_can_be_named():
    text = "file_name,label,species\na.png,cat,felis\n"
    assert read(text)[0] == [("a.png", "cat")]
    assert read(text, "species")[:2] == ([("a.png", "felis")], "species")


def test_the_only_other_column_is_taken_and_told():
    rows, column, told = read("file,animal\na.png,cat\n")
    assert (rows, column) == ([("a.png", "cat")], "animal")
    assert told == ["taken as the label: the only one"]


def test_rows_without_a_file_are_left_out_and_empty_labels_are_none():
    assert read("file_name,label\n,cat\na.png,\n")[0] == [("a.png", None)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found none; fill it"),
        ("file_name,label\n", "found none; fill it"),
        ("a.png,cat\nb.png,dog\n", "a column file_name"),
        ("file_name\na.png\n", "a column label"),
        ("file_name,kind,size\na.png,cat,3\n", "pass --label-column"),
    ],
)
def test_a_csv_that_is_no_table_is_refused(text, words):
    assert words in refusal(text.encode())


def test_a_column_that_is_not_there_is_refused():
    assert "expected a column 'kind'" in refusal(b"file_name,label\na,b\n", column="kind")


def test_what_is_not_utf_8_is_refused():
    assert "UTF-8" in refusal("file_name,label\ncafé.png,x\n".encode("latin-1"))


@pytest.mark.parametrize("line", ["{", "3", "[]", "null", "[" * 100_000])
def test_a_line_that_is_no_json_object_is_named(line):
    good = json.dumps({"file_name": "a.png", "label": "x"})
    assert "line 2" in refusal(f"{good}\n{line}\n".encode(), "metadata.jsonl")


def test_several_labels_of_an_image_are_refused():
    line = json.dumps({"file_name": "a.png", "label": ["x", "y"]})
    assert "one label an image" in refusal(line.encode(), "metadata.jsonl")


def test_captions_are_not_taken_for_labels():
    rows = "".join(f"{i}.png,a photo of bee {i}\n" for i in range(9))
    message = refusal(b"file_name,text\n" + rows.encode())
    assert "'text' with 9 values in 9 rows" in message and "--label-column text" in message
    assert read("file_name,text\n" + rows, "text")[1] == "text"


def test_a_line_of_json_ends_where_a_line_ends():
    text = '{"file_name": "a.png", "label": "x", "text": "one\u2028two\x85three"}\r\n'
    assert read(text, name="metadata.jsonl")[0] == [("a.png", "x")]


def test_json_lines_are_known_by_a_name_in_capitals():
    text = '{"file_name": "a.png", "label": "x"}'
    assert read(text, name="METADATA.JSONL")[0] == [("a.png", "x")]
