"""Answers about many pictures as a table, in CSV."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import TransferError

if TYPE_CHECKING:
    from transfer.inference.classifier import Answer

Row = tuple[Path | str, "Answer | None", str]  # a picture, the answer, why it could not be read


def write_table(target: Path, rows: Iterable[Row], top: int) -> Iterator[Row]:
    """The rows, each as it is written with its `top` best classes; the table is opened before the
    first row is asked for. Raises TransferError.

    File names are written byte for byte, whether they are UTF-8 or not.
    """
    columns = [f"{name}_{i}" for i in range(1, top + 1) for name in ("label", "score")]
    try:
        with target.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(["path", *columns, "error", "known", "familiarity"])
            for path, answer, error in rows:
                predictions = answer.predictions if answer else []
                cells = [cell for p in predictions for cell in (p.label, f"{p.score:.6f}")]
                cells += [""] * (len(columns) - len(cells))
                writer.writerow([path, *cells, error, *_familiarity_cells(answer)])
                yield path, answer, error
    except OSError as error:
        raise TransferError(
            f"the table {target.name!r} cannot be written ({error.strerror}); choose another place"
        ) from None


def _familiarity_cells(answer: "Answer | None") -> list[str]:
    if answer is None or answer.known is None:
        return ["", ""]
    return [str(answer.known).lower(), f"{answer.familiarity:.6f}"]
