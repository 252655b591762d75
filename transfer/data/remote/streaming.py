"""Rows of a data set as they come from the Hub: a bounded number of each class, taken and kept.

Nothing of it touches the caches that `datasets` and `huggingface_hub` share with other programs.
"""

import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset
from transfer.data.labels import label_reader, number_labels, used_splits
from transfer.data.prefetch import read_ahead
from transfer.data.remote import snapshot
from transfer.data.remote.cells import Files
from transfer.data.remote.columns import ROWS_LOOKED_AT, Columns, LoadOptions, TableView
from transfer.data.remote.repository import Repository, is_image_folder, open_with_labels
from transfer.errors import ImageError

ROWS_GUESSED_FROM = 200
FETCHED_AT_ONCE = 8
ROWS_SHUFFLED = 10_000
ROWS_UNLABELLED = 500
ROWS_SURE = 1_000
ROWS_AT_LEAST = 5_000
ROWS_A_PLACE = 10


@dataclass(kw_only=True)
class Streams:
    """The used splits of a data set as streams of rows, not yet decoded.

    `row_groups`: its files are Parquet, whose row groups can be read one by one. `free_rows`: a row
    is a file's name, so that looking at one that is not taken downloads nothing. The rows come in
    an order drawn by the seed that spreads over the files, or as they stand for None.
    """

    splits: dict
    row_groups: bool
    free_rows: bool
    seed: int | None
    folders: Files | None
    problems: list[DataIssue]
    _begun: tuple[list[dict], Iterator[dict]] | None = None

    @classmethod
    def load(cls, seed: int | None, builder, folders: Files | None) -> "Streams":
        """With `folders`, the image files' folders become the column "label"."""
        streams, problems = dict(builder.as_streaming_dataset()), []
        return cls(
            splits={split: streams[name] for name, split in used_splits(streams, problems).items()},
            row_groups=builder.name == "parquet",
            free_rows=is_image_folder(builder),
            seed=seed,
            folders=folders,
            problems=problems,
        )

    @property
    def first_split(self) -> str:
        return next(iter(self.splits))

    @functools.cached_property
    def features(self) -> dict:
        """Column → type; guessed from the first rows where the files do not say."""
        from datasets import Dataset, Value

        known = self.splits[self.first_split].features
        if self.folders:
            return known | {"label": Value("string")}
        return known or Dataset.from_list(self._first(ROWS_GUESSED_FROM)).features

    def look(self) -> TableView:
        """At the first rows of the first split."""
        return TableView(
            features=self.features,
            head=lambda column: [row[column] for row in self._first(ROWS_LOOKED_AT)],
            values=lambda column: [row[column] for row in self._first(ROWS_GUESSED_FROM)],
        )

    def rows(self, split: str) -> Iterator[dict]:
        """Those looked at are not downloaded again."""
        if split != self.first_split or self._begun is None:
            return self._ordered(split)
        (seen, rest), self._begun = self._begun, None
        return itertools.chain(seen, rest)

    def _first(self, number: int) -> list[dict]:
        if self._begun is None:
            self._begun = [], self._ordered(self.first_split)
        seen, rest = self._begun
        seen.extend(itertools.islice(rest, max(0, number - len(seen))))
        return seen[:number]

    def _ordered(self, split: str) -> Iterator[dict]:
        for row in self._drawn(split):
            if self.folders:
                (image,) = row.values()
                row["label"] = self.folders.folder(image)
            yield row

    def _drawn(self, split: str) -> Iterator[dict]:
        stream = self.splits[split]
        if stream.features:
            stream = stream.decode(False)
        if self.seed is None:
            return iter(stream)
        if self.row_groups:
            return _row_groups(stream, self.seed)
        buffer = ROWS_SHUFFLED if self.free_rows else 1
        return iter(stream.shuffle(seed=self.seed, buffer_size=buffer, max_buffer_input_shards=1))


def _row_groups(stream, seed: int) -> Iterator[dict]:
    """One row group of each file in turn; files, row groups and rows in an order drawn by the seed.

    A file sorted by class is left after about a hundred rows, and one row group is in memory.
    """
    draw = np.random.default_rng(seed)
    files = draw.permutation(stream.num_shards).tolist()
    left: dict[int, tuple] = {}
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


def read_streamed(repository: Repository, wish: LoadOptions) -> ImageDataset:
    """At most `wish.limit_per_class` images of each class a split, kept for the next time.

    Of a split at most max(ROWS_AT_LEAST, ROWS_A_PLACE x limit x classes) rows are looked at, and
    fewer once each class has its limit. Raises SourceError, CacheError, or the errors of `datasets`
    and of the Hub.
    """
    key = asdict(repository) | asdict(wish)
    if images := snapshot.find(key):
        return images
    files = repository.files()
    seed = wish.seed if wish.limit_per_class else None
    load = functools.partial(Streams.load, seed)
    found, columns = open_with_labels(repository, wish, files, load)
    images = repository.empty(wish, columns).with_splits({}, *found.problems)
    with snapshot.keeping(key) as folder:
        taken = _take(folder, found, columns, files, wish.limit_per_class)
        images, splits = _numbered(images, taken, found.features[columns.label])
        snapshot.write_record(folder, key, images, splits)
    return snapshot.find(key) or read_streamed(repository, wish)  # somebody cleared it this moment


@dataclass(frozen=True, kw_only=True)
class SplitSample:
    """One split's labels as stored, its images on disk, and what there is to say."""

    labels: list
    images: snapshot.SplitWriter
    problems: list[DataIssue]


def _take(
    folder: Path, streams: Streams, columns: Columns, files: Files, limit: int | None
) -> dict[str, SplitSample]:
    """Split → its images, written into the folder."""
    feature, taken = streams.features[columns.label], {}
    for split in streams.splits:
        draw = ClassSampler(
            split=split,
            columns=columns,
            feature=feature,
            limit=limit,
            free_rows=streams.free_rows,
        )
        with snapshot.split_file(folder, split) as images:
            labels = _keep(draw.drawn(streams.rows(split)), files, images, draw)
        taken[split] = SplitSample(labels=labels, images=images, problems=draw.problems)
    return taken


def _numbered(
    images: ImageDataset, taken: dict[str, SplitSample], feature
) -> tuple[ImageDataset, dict[str, snapshot.SplitWriter]]:
    """(`images` with splits and classes, the splits' images on disk)."""
    problems = [problem for one in taken.values() for problem in one.problems]
    values = {split: one.labels for split, one in taken.items()}
    classes, labels = number_labels(values, feature, images.label_column, problems)
    splits = {split: taken[split].images.as_split(labels[split]) for split in labels}
    images = replace(images, classes=classes).with_splits(splits, *problems)
    return images, {split: one.images for split, one in taken.items()}


@dataclass
class ClassSampler:
    """Which rows of one split are taken: the first of each class, up to the limit."""

    split: str
    columns: Columns
    feature: object
    limit: int | None
    free_rows: bool
    counts: Counter = field(default_factory=Counter)
    problems: list[DataIssue] = field(default_factory=list)

    def drawn(self, rows: Iterable[dict]) -> Iterator[tuple]:
        """(label, cell) of the rows that are taken."""
        label, unlabelled = label_reader(self.feature), 0
        for number, row in enumerate(rows, start=1):
            value = label(row[self.columns.label])
            if value is None:
                unlabelled += 1
            elif self.limit is None or self.counts[value] < self.limit:
                self.counts[value] += 1
                yield value, row[self.columns.image]
            if self._is_enough(number):
                break
        if unlabelled and self.counts:
            self._tell(f"{unlabelled} rows without label", unlabelled)

    def _is_enough(self, rows: int) -> bool:
        if self.limit is None:
            return False
        known = len(getattr(self.feature, "names", ()))
        if not self.counts:
            return rows >= ROWS_UNLABELLED
        if all(count >= self.limit for count in self.counts.values()):
            sure = not known and not self.free_rows and rows >= ROWS_SURE
            if sure or len(self.counts) == known:
                return True
        most = max(ROWS_AT_LEAST, ROWS_A_PLACE * self.limit * (known or len(self.counts)))
        if self.free_rows or rows < most:
            return False
        self._tell(f"{rows} rows looked at and no more: some classes have less than {self.limit}")
        return True

    def _tell(self, why: str, skipped: int = 0) -> None:
        where = f"split {self.split!r}"
        self.problems.append(DataIssue(where=where, why=why, skipped=skipped))


def _keep(
    drawn: Iterator[tuple], files: Files, split: snapshot.SplitWriter, draw: ClassSampler
) -> list:
    """Fetch and write the images, several at once; the labels of those that could be."""
    labels = []
    fetch = functools.partial(_fetch, files)
    for (label, cell), data in read_ahead(fetch, drawn, FETCHED_AT_ONCE):
        name = _name(draw.split, files, cell, data)
        if isinstance(data, ImageError):
            draw.problems.append(DataIssue(where=name, why=str(data)))
        else:
            split.add(name, data)
            labels.append(label)
    return labels


def _fetch(files: Files, taken: tuple) -> bytes | ImageError:
    _, cell = taken
    try:
        return files.read(cell)
    except ImageError as error:
        return error


def _name(split: str, files: Files, cell, data: bytes | ImageError) -> str:
    """For people, and never the same for two different images."""
    if file := files.name(cell):
        return file
    path = cell.get("path") if isinstance(cell, dict) else None
    words = [split, PurePosixPath(path).name if path else "image"]
    if isinstance(data, bytes):
        words.append(hashlib.sha256(data).hexdigest()[:12])
    return " ".join(words)
