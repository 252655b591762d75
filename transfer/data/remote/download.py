"""A complete dataset of the Hub, in the cache that `datasets` shares with all programs."""

import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset, Split
from transfer.data.labels import label_reader, number_labels, used_splits
from transfer.data.remote.columns import LoadOptions
from transfer.data.remote.files import DatasetFiles
from transfer.data.remote.repository import Repository, open_with_labels


def read_downloaded(repository: Repository, options: LoadOptions) -> ImageDataset:
    """Raises SourceError, or the errors of `datasets` and of the Hub."""
    files = repository.downloaded_files()
    tables, columns = open_with_labels(repository, options, files, DownloadedTables)
    feature, problems = tables.features[columns.label], tables.problems
    label = label_reader(feature)
    values = {
        split: [label(value) for value in table.data.column(columns.label).to_pylist()]
        for split, table in tables.splits.items()
    }
    classes, labels = number_labels(values, feature, columns.label, problems)
    splits = {}
    for split, numbers in labels.items():
        cells = tables.splits[split].data.column(columns.image)
        splits[split] = _split(split, cells, numbers, files)
        if missing := len(numbers) - len(splits[split]):
            problems.append(DataIssue(f"split {split!r}", f"{missing} rows without label", missing))
    return repository.empty(options, columns, classes).with_splits(splits, *problems)


class DownloadedTables:
    """The used splits of a dataset as Arrow tables on disk, train first."""

    def __init__(self, builder, folders: DatasetFiles | None):
        """With `folders`, the image files' folders become the column "label"."""
        builder.download_and_prepare()
        tables = dict(builder.as_dataset())
        self.problems: list[DataIssue] = []
        names = used_splits(tables, self.problems)
        self.splits = {
            split: _with_folders(tables[name], folders) if folders else tables[name]
            for name, split in names.items()
        }
        self._first = next(iter(self.splits.values()))
        self.features = self._first.features

    def values(self, column: str, rows: int | None = None) -> list:
        """As they are stored: an image as {"bytes", "path"}, a class as its number."""
        return self._first.data.slice(0, rows).column(column).to_pylist()


def _with_folders(table, files: DatasetFiles):
    (image,) = table.column_names
    cells = table.data.column(image).to_pylist()
    return table.add_column("label", [files.folder(cell) for cell in cells])


def _split(split: str, cells, labels: np.ndarray, files: DatasetFiles) -> Split:
    """The rows with a label; `cells` is an Arrow column (N,), on disk until it is read."""
    names = tuple(f"{split} row {i}" for i in range(len(labels)))
    rows = Split(labels=labels, names=names, read=lambda i: files.read(cells[i].as_py()))
    return rows.take(np.flatnonzero(labels >= 0))
