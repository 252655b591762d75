"""Rows of a dataset as they come from the Hub: up to a limit of each class, saved in a snapshot.

Nothing of it touches the caches that `datasets` and `huggingface_hub` share with other programs.
"""

import functools
import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.labels import label_reader, number_labels, used_splits
from transfer.data.prefetch import read_ahead
from transfer.data.remote import snapshot
from transfer.data.remote.columns import Columns, LoadOptions
from transfer.data.remote.files import DatasetFiles
from transfer.data.remote.repository import Repository, open_with_labels
from transfer.errors import ImageError

ROWS_IN_VALUES = 200  # that the columns are chosen by
FETCHED_AT_ONCE = 8  # images, each by a thread of its own
ROWS_SHUFFLED = 10_000  # file names of an image folder in memory
ROWS_UNLABELLED = 500  # without any label, then the split has none
ROWS_SURE = 1_000  # then no further class is expected where the names are not known
ROWS_AT_LEAST, ROWS_A_PLACE = 5_000, 10  # rows read at most: a number a class and image wanted


def read_streamed(repository: Repository, options: LoadOptions) -> ImageDataset:
    """At most `options.limit_per_class` images of each class a split, saved for the next time.

    Raises SourceError, CacheError, or the errors of `datasets` and of the Hub.
    """
    key = asdict(repository) | asdict(options)
    if images := snapshot.find(key):
        return images
    files = repository.files()
    load = functools.partial(Streams, seed=options.seed if options.limit_per_class else None)
    streams, columns = open_with_labels(repository, options, files, load)
    feature, problems = streams.features[columns.label], streams.problems
    sampler = ClassSampler(columns, feature, options.limit_per_class, streams.is_image_folder)

    def fetch(row: tuple) -> bytes | ImageError:
        try:
            return files.read(row[1])
        except ImageError as error:
            return error

    with snapshot.writing(key) as writer:
        for split in streams.splits:
            writer.splits[split] = snapshot.SavedSplit()
            rows = sampler.sample(split, streams.rows(split), problems)
            for (label, cell), data in read_ahead(fetch, rows, FETCHED_AT_ONCE):
                name = _name(split, files, cell, data)
                if isinstance(data, ImageError):
                    problems.append(DataIssue(name, str(data)))
                else:
                    writer.add(split, label, name, data)
        values = {split: saved.labels for split, saved in writer.splits.items()}
        classes, labels = number_labels(values, feature, columns.label, problems)
        images = repository.empty(options, columns, classes)
        writer.finish(images.with_splits({}, *problems), labels)
    return snapshot.find(key) or read_streamed(repository, options)  # cleared in this moment


class Streams:
    """The used splits of a dataset as streams of rows, not yet decoded."""

    def __init__(self, builder, folders: DatasetFiles | None, seed: int | None):
        """With `folders`, the image files' folders become the column "label". `seed` draws an order
        that spreads over the files; None keeps the stored one."""
        streams = dict(builder.as_streaming_dataset())
        self.problems: list[DataIssue] = []
        names = used_splits(streams, self.problems)
        self.splits = {split: streams[name] for name, split in names.items()}
        self._is_parquet = builder.name == "parquet"
        # its rows are file names: a row that is not used downloads nothing
        self.is_image_folder = builder.name == "imagefolder"
        self._folders, self._seed = folders, seed
        self._first_split = next(iter(self.splits))
        self._peeked: list[dict] = []
        self._rest = self._labelled(self._first_split)

    @functools.cached_property
    def features(self) -> dict:
        """Column → type; guessed from the first rows where the files do not say."""
        from datasets import Dataset, Value

        known = self.splits[self._first_split].features
        if self._folders:
            return known | {"label": Value("string")}
        return known or Dataset.from_list(self._peek(ROWS_IN_VALUES)).features

    def values(self, column: str, rows: int = ROWS_IN_VALUES) -> list:
        return [row[column] for row in self._peek(rows)]

    def rows(self, split: str) -> Iterator[dict]:
        """To be called once; rows that were peeked at are not downloaded again."""
        if split != self._first_split:
            return self._labelled(split)
        return itertools.chain(self._peeked, self._rest)

    def _peek(self, number: int) -> list[dict]:
        """Rows of the first split, which is the training split."""
        self._peeked += itertools.islice(self._rest, max(0, number - len(self._peeked)))
        return self._peeked[:number]

    def _labelled(self, split: str) -> Iterator[dict]:
        for row in self._ordered(split):
            if self._folders:
                (image,) = row.values()
                row["label"] = self._folders.folder(image)
            yield row

    def _ordered(self, split: str) -> Iterator[dict]:
        stream = self.splits[split]
        if stream.features:
            stream = stream.decode(False)
        if self._seed is None:
            return iter(stream)
        if self._is_parquet:
            return _row_groups(stream, self._seed)
        size = ROWS_SHUFFLED if self.is_image_folder else 1
        return iter(stream.shuffle(seed=self._seed, buffer_size=size, max_buffer_input_shards=1))


def _row_groups(stream, seed: int) -> Iterator[dict]:
    """One row group of each Parquet file in turn; files, groups and rows in an order drawn by the
    seed.

    So a file sorted by class is left after about a hundred rows, and one row group is in memory.
    """
    draw = np.random.default_rng(seed)
    files = draw.permutation(stream.num_shards).tolist()
    left: dict[int, tuple] = {}  # file number → (its stream, its row groups that are still to come)
    while files:
        for number in list(files):
            if number not in left:
                file = stream.shard(stream.num_shards, number).reshard()
                left[number] = file, draw.permutation(file.num_shards).tolist()
            file, groups = left[number]
            rows = list(file.shard(file.num_shards, groups.pop()))
            yield from (rows[row] for row in draw.permutation(len(rows)))
            if not groups:
                files.remove(number)
                del left[number]


@dataclass(frozen=True)
class ClassSampler:
    """Takes the first rows of each class, up to `limit` of them; None takes all."""

    columns: Columns
    feature: object
    limit: int | None
    is_image_folder: bool

    def sample(
        self, split: str, rows: Iterable[dict], problems: list[DataIssue]
    ) -> Iterator[tuple]:
        """(label, cell) of each row that is taken."""
        label_of, where = label_reader(self.feature), f"split {split!r}"
        counts, unlabelled = Counter(), 0
        for number, row in enumerate(rows, start=1):
            label = label_of(row[self.columns.label])
            if label is None:
                unlabelled += 1
            elif self.limit is None or counts[label] < self.limit:
                counts[label] += 1
                yield label, row[self.columns.image]
            if self.limit and self._is_complete(number, counts):
                break
            if self.limit and number >= self._most_rows(counts):
                why = f"only {number} rows were read: some classes have less than {self.limit}"
                problems.append(DataIssue(where, why, skipped=0))
                break
        if unlabelled and counts:
            problems.append(DataIssue(where, f"{unlabelled} rows without label", unlabelled))

    def _is_complete(self, rows: int, counts: Counter) -> bool:
        if not counts:
            return rows >= ROWS_UNLABELLED
        if min(counts.values()) < self.limit:
            return False
        if classes := len(getattr(self.feature, "names", ())):
            return len(counts) == classes
        return rows >= ROWS_SURE and not self.is_image_folder

    def _most_rows(self, counts: Counter) -> float:
        """Of an image folder all rows: they are file names."""
        places = self.limit * len(getattr(self.feature, "names", counts))
        return math.inf if self.is_image_folder else max(ROWS_AT_LEAST, ROWS_A_PLACE * places)


def _name(split: str, files: DatasetFiles, cell, data: bytes | ImageError) -> str:
    """For people; two different images never have the same."""
    if file := files.name(cell):
        return file
    path = cell.get("path") if isinstance(cell, dict) else None
    words = [split, PurePosixPath(path).name if path else "image"]
    if isinstance(data, bytes):
        words.append(hashlib.sha256(data).hexdigest()[:12])
    return " ".join(words)
