"""A table of file names and labels beside the images: metadata.csv or metadata.jsonl."""

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from transfer.data.dataset import DataIssue, listed
from transfer.data.labels import LABEL_NAMES, class_name, plain_label
from transfer.errors import SourceError

TABLES = ("metadata.csv", "metadata.jsonl")
FILE_COLUMNS = ("file_name", "filename", "file", "path", "image")
SPLIT_COLUMNS = ("split", "subset", "partition", "set", "is_valid")
SEPARATOR_LINE = re.compile('"?sep=(.)[^\n]*\n', re.IGNORECASE)  # the first line, from Excel
WHOLE = re.compile(r"(-?\d+)\.0*")  # a program writes 1 as 1.0 where another label is missing
NUMBER = re.compile(r"-?\d*\.?\d+")
MAX_BYTES = 100_000_000


@dataclass(frozen=True)
class Row:
    """`number` is the line. `split` is None without a column of splits."""

    number: int
    file: str
    label: str | None
    split: str | None = None


def read_table(
    name: str, data: bytes, label_column: str | None
) -> tuple[list[Row], str, list[DataIssue]]:
    """(rows, label column, what was guessed). Raises SourceError."""
    if len(data) > MAX_BYTES:
        raise _refused(name, f"at most {MAX_BYTES // 1_000_000} MB", "more", "split it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused(name, "UTF-8", "another encoding", "save it as UTF-8") from None
    lines = _json_lines if name.lower().endswith("l") else _csv_lines
    records = [
        (number, {class_name(key or ""): value for key, value in record.items()})
        for number, record in lines(name, text)
    ]
    columns = list(dict.fromkeys(key for _, record in records for key in record))
    if not records:
        raise _refused(name, "rows of file and label", "none", "add rows")
    file_column = _first(columns, FILE_COLUMNS)
    if file_column is None:
        raise _refused(name, "a column file_name", listed(columns), "rename a column")
    others = [column for column in columns if column not in (file_column, "")]
    label_column = label_column and class_name(label_column)
    candidates = [c for c in others if c != label_column] if len(others) > 1 else []
    split_column = _first(candidates, SPLIT_COLUMNS)
    others = [column for column in others if column != split_column]
    column, guesses = _label_column(name, columns, others, label_column)
    different = len({str(record.get(column)) for _, record in records}) if guesses else 0
    if different > max(2, len(records) // 2):  # captions, of which nearly every one is different
        found = f"{column!r} with {different:,} values in {len(records):,} rows"
        advice = f"pass --label-column {column} if they are labels, or remove the table"
        raise _refused(name, "a column label", found, advice)
    rows = [
        Row(
            number,
            str(record[file_column]),
            _label(name, number, record.get(column)),
            _split(split_column, record.get(split_column)) if split_column else None,
        )
        for number, record in records
        if record.get(file_column)
    ]
    labels = {row.label for row in rows if row.label is not None}
    if all(map(NUMBER.fullmatch, labels)) and any("." in label for label in labels):
        what = f"names or whole numbers as labels in {column!r}"
        raise _refused(name, what, "decimals", "pass another --label-column")
    return rows, column, guesses


def _csv_lines(name: str, text: str) -> Iterator[tuple[int, dict]]:
    """(row number, column → cell), separated by commas, or by what Excel writes instead."""
    named = SEPARATOR_LINE.match(text)
    text = text[named.end() :] if named else text
    head = text.partition("\n")[0]
    delimiter = named[1] if named else next((sign for sign in ",;\t" if sign in head), ",")
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in rows:
            row.pop(None, None)  # cells after the last column
            yield rows.line_num + bool(named), row
    except csv.Error as error:
        raise SourceError(f"{name!r} cannot be read ({error}); save it again") from None


def _json_lines(name: str, text: str) -> Iterator[tuple[int, dict]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        record = None
        with suppress(ValueError, RecursionError):
            record = json.loads(line)
        if not isinstance(record, dict):
            raise _refused(name, f"a JSON object in line {number}", "none", "correct it")
        yield number, record


def _first(columns: list[str], names: tuple[str, ...]) -> str | None:
    by_lower = {column.lower(): column for column in reversed(columns)}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _label_column(
    name: str, columns: list[str], others: list[str], wanted: str | None
) -> tuple[str, list[DataIssue]]:
    """`others` are the columns that may hold labels."""
    if wanted is not None:
        if wanted not in others:
            what = f"a column {wanted!r}"
            raise _refused(name, what, listed(columns), "pass another --label-column")
        return wanted, []
    if usual := _first(others, LABEL_NAMES):
        return usual, []
    if len(others) != 1:
        raise _refused(name, "a column label", listed(columns), "pass --label-column")
    why = "taken as the label: the only other column"
    return others[0], [DataIssue(f"{name} column {others[0]!r}", why, skipped=0)]


def _label(name: str, number: int, value: object) -> str | None:
    """As for a column of the Hub; in a text "1.0" is "1" too."""
    if isinstance(value, (list, dict)):
        raise _refused(name, "one label an image", f"several in line {number}", "keep one")
    if (label := plain_label(value)) is None:
        return None
    whole = WHOLE.fullmatch(str(label))
    return whole[1] if whole else str(label)


def _split(column: str, value: object) -> str:
    """The name of a split as the table has it; `is_valid` holds 1 for validation, 0 for train."""
    text = str(plain_label(value) or "")
    if column.lower() == "is_valid":
        return "validation" if text.lower() in ("1", "1.0", "true", "yes") else "train"
    return text


def _refused(name: str, expected: str, found: str, advice: str) -> SourceError:
    return SourceError(f"expected {expected} in {name!r}, found {found}; {advice}")
