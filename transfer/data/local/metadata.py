"""A table of file names and labels beside the images: metadata.csv or metadata.jsonl."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import suppress

from transfer.data.dataset import DataIssue, listed
from transfer.errors import SourceError

TABLES = ("metadata.csv", "metadata.jsonl")
FILE_COLUMNS = ("file_name", "filename", "file", "path", "image")
LABEL_COLUMNS = ("label", "class", "category")
MAX_BYTES = 100_000_000

Rows = list[tuple[int, str, str | None]]


def read_table(
    name: str, data: bytes, label_column: str | None
) -> tuple[Rows, str, list[DataIssue]]:
    """((row number, file, label or None)…, label column, what was guessed). Raises SourceError."""
    if len(data) > MAX_BYTES:
        raise _refused(name, f"at most {MAX_BYTES // 1_000_000} MB", "more", "split it")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused(name, "UTF-8", "another encoding", "save it as UTF-8") from None
    lines = _json_lines if name.lower().endswith("l") else _csv_lines
    records = list(lines(name, text))
    columns = list(dict.fromkeys(key for _, record in records for key in record))
    if not records:
        raise _refused(name, "rows of file and label", "none", "add rows")
    file_column = _first(columns, FILE_COLUMNS)
    if file_column is None:
        raise _refused(name, "a column file_name", listed(columns), "rename a column")
    column, guesses = _label_column(name, columns, file_column, label_column)
    different = len({str(record.get(column)) for _, record in records}) if guesses else 0
    if different > max(2, len(records) // 2):  # captions, of which nearly every one is different
        found = f"{column!r} with {different:,} values in {len(records):,} rows"
        advice = f"pass --label-column {column} if they are labels, or remove the table"
        raise _refused(name, "a column label", found, advice)
    rows = [
        (number, str(record[file_column]), _label(name, number, record.get(column)))
        for number, record in records
        if record.get(file_column)
    ]
    return rows, column, guesses


def _csv_lines(name: str, text: str) -> Iterator[tuple[int, dict]]:
    """(row number, column → cell), separated by commas, or by what Excel writes instead."""
    head = text.partition("\n")[0]
    delimiter = next((sign for sign in ",;\t" if sign in head), ",")
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in rows:
            row.pop(None, None)  # cells after the last column
            yield rows.line_num, {(key or "").strip(): value for key, value in row.items()}
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
    name: str, columns: list[str], file_column: str, wanted: str | None
) -> tuple[str, list[DataIssue]]:
    others = [column for column in columns if column not in (file_column, "")]
    if wanted is not None:
        if wanted not in others:
            what = f"a column {wanted!r}"
            raise _refused(name, what, listed(columns), "pass another --label-column")
        return wanted, []
    if usual := _first(others, LABEL_COLUMNS):
        return usual, []
    if len(others) != 1:
        raise _refused(name, "a column label", listed(columns), "pass --label-column")
    why = "taken as the label: the only other column"
    return others[0], [DataIssue(f"{name} column {others[0]!r}", why, skipped=0)]


def _label(name: str, number: int, value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, (list, dict)):
        raise _refused(name, "one label an image", f"several in line {number}", "keep one")
    return str(value).strip()


def _refused(name: str, expected: str, found: str, advice: str) -> SourceError:
    return SourceError(f"expected {expected} in {name!r}, found {found}; {advice}")
