"""A whole data set of the Hub, in the cache that `datasets` shares with all programs."""

from dataclasses import dataclass, replace

import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset, Split
from transfer.data.labels import label_reader, number_labels, used_splits
from transfer.data.remote.cells import Files
from transfer.data.remote.columns import ROWS_LOOKED_AT, LoadOptions, TableView
from transfer.data.remote.repository import Repository, open_with_labels


def read_downloaded(repository: Repository, wish: LoadOptions) -> ImageDataset:
    """Raises SourceError, or the errors of `datasets` and of the Hub."""
    files = repository.downloaded_files()
    tables, columns = open_with_labels(repository, wish, files, Tables.load)
    feature = tables.look().features[columns.label]
    label = label_reader(feature)
    values = {
        split: [label(value) for value in _values(table.data, columns.label)]
        for split, table in tables.splits.items()
    }
    problems = list(tables.problems)
    classes, labels = number_labels(values, feature, columns.label, problems)
    splits = {}
    for split in labels:
        cells = tables.splits[split].data.column(columns.image)
        splits[split] = _labelled(split, _split(split, cells, labels[split], files), problems)
    images = replace(repository.empty(wish, columns), classes=classes)
    return images.with_splits(splits, *problems)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The used splits of a data set as Arrow tables on disk, train first."""

    splits: dict
    problems: list[DataIssue]

    @classmethod
    def load(cls, builder, folders: Files | None) -> "Tables":
        """With `folders`, the image files' folders become the column "label"."""
        builder.download_and_prepare()
        tables, problems = dict(builder.as_dataset()), []
        splits = {split: tables[name] for name, split in used_splits(tables, problems).items()}
        if folders:
            splits = {split: _with_folders(table, folders) for split, table in splits.items()}
        return cls(splits=splits, problems=problems)

    def look(self) -> TableView:
        table = next(iter(self.splits.values()))
        return TableView(
            features=table.features,
            head=lambda column: _values(table.data.slice(0, ROWS_LOOKED_AT), column),
            values=lambda column: _values(table.data, column),
        )


def _with_folders(table, files: Files):
    (image,) = table.column_names
    return table.add_column("label", [files.folder(cell) for cell in _values(table.data, image)])


def _values(table, column: str) -> list:
    """As they are stored: an image as {"bytes", "path"}, a class as its number."""
    return table.column(column).to_pylist()


def _split(split: str, cells, labels: np.ndarray, files: Files) -> Split:
    """`cells` is an Arrow column (N,), on disk until it is read."""
    names = tuple(f"{split} row {i}" for i in range(len(labels)))
    return Split(labels=labels, names=names, read=lambda i: files.read(cells[i].as_py()))


def _labelled(split: str, whole: Split, problems: list[DataIssue]) -> Split:
    rows = np.flatnonzero(whole.labels >= 0)
    if missing := len(whole) - len(rows):
        why = f"{missing} rows without label"
        problems.append(DataIssue(where=f"split {split!r}", why=why, skipped=missing))
    return whole.take(rows)
