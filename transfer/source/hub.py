"""A data set of the Hugging Face Hub, read with `datasets`; its own code is never run."""

import numpy as np

from transfer import hub
from transfer.errors import SourceError
from transfer.source.labelled import LabelledImages, Problem, Split
from transfer.source.split import split_called

MAX_CLASSES = 1000


def open_hub(
    name: str,
    *,
    config: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> LabelledImages:
    """Pinned to the revision that the Hub names now. Raises SourceError."""
    try:
        name, revision = _pin(name)
        tables = _load(name, config, revision)
    except Exception as error:
        raise hub.explain(error, "data set", name, SourceError) from None
    features = next(iter(tables.values())).features
    image_column = _image_column(features, image_column)
    problems: list[Problem] = []
    label_column = _label_column(tables, label_column, image_column, problems)
    classes, labels = _labels(tables, label_column)
    splits = _splits(tables, labels, image_column, problems)
    return LabelledImages(
        source=f"hub:{name}" + (f" ({config})" if config else ""),
        revision=revision,
        classes=classes,
        splits=splits,
        image_column=image_column,
        label_column=label_column,
        problems=tuple(problems),
    )


def _pin(name: str) -> tuple[str, str]:
    """(id, revision) as the Hub names them now; the Hub's own errors, or HubSilent."""
    from huggingface_hub import HfApi

    info = hub.ask(lambda: HfApi().dataset_info(name, timeout=hub.ANSWER_SECONDS))
    if info.gated:  # it is listed for everyone, its files are not
        hub.ask(lambda: HfApi().auth_check(info.id, repo_type="dataset"))
    return info.id, info.sha


def _load(name: str, config: str | None, revision: str) -> dict:
    """Split → table, downloaded."""
    from datasets import load_dataset

    # hf:// keeps a local folder of the same name from being taken instead
    address = f"hf://datasets/{name}"
    try:
        return dict(load_dataset(address, config, revision=revision))
    except Exception as error:
        raise _load_error(error, address, config, revision) from error


def _load_error(error: Exception, address: str, config: str | None, revision: str) -> Exception:
    """What `datasets` means by an error of its many kinds."""
    from datasets import get_dataset_config_names
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DataFilesNotFoundError, DatasetGenerationError

    name = address.removeprefix("hf://datasets/")
    if isinstance(error, ValueError) and "onfig" in str(error):
        names = ", ".join(get_dataset_config_names(address, revision=revision)[:20])
        return SourceError(
            f"expected one of the configs of {name!r} ({names}), found {config or 'none'}; "
            "pass --config"
        )
    nothing = (ValueError, EmptyDatasetError, DataFilesNotFoundError, DatasetGenerationError)
    if isinstance(error, nothing) or "Dataset scripts" in str(error):
        return SourceError(
            f"the data set {name!r} holds nothing that `datasets` can read without running its "
            "code; choose one in Parquet or as an image folder"
        )
    # a bare FileNotFoundError is its word for a Hub that fails halfway
    return hub.HubSilent() if type(error) is FileNotFoundError else error


def _image_column(features, wanted: str | None) -> str:
    from datasets import Image

    found = [column for column, feature in features.items() if isinstance(feature, Image)]
    if wanted is not None and wanted in found:
        return wanted
    if wanted is not None or not found:
        raise SourceError(
            f"expected a column of images{f' called {wanted!r}' if wanted else ''}, found "
            f"{_described(features)}; pass --image-column"
        )
    return found[0]


def _label_column(tables, wanted: str | None, image_column: str, problems: list[Problem]) -> str:
    from datasets import ClassLabel

    table = next(iter(tables.values()))
    features = table.features
    if wanted is not None:
        if wanted not in features:
            raise SourceError(
                f"expected a column called {wanted!r}, found {_described(features)}; "
                "pass --label-column"
            )
        return wanted
    for column, feature in features.items():
        if isinstance(feature, ClassLabel):
            return column
    for column, feature in features.items():
        plain = getattr(feature, "dtype", "") in ("string", "large_string", "int64", "int32")
        if column != image_column and plain:
            distinct = len(table.unique(column))
            if 2 <= distinct <= min(MAX_CLASSES, len(table) // 2):
                why = f"taken as the label: no ClassLabel column, and {distinct} values here"
                problems.append(Problem(where=f"column {column!r}", why=why))
                return column
    raise SourceError(
        f"expected a column of labels, found {_described(features)}; pass --label-column"
    )


def _labels(tables, column: str) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """(class names, split → int64 (N,) with -1 where there is no label)."""
    values = {name: table.data.column(column).to_pylist() for name, table in tables.items()}
    codes = _codes(next(iter(tables.values())).features[column], values, column)
    if len(codes) > MAX_CLASSES:
        raise SourceError(
            f"expected at most {MAX_CLASSES} classes in column {column!r}, found {len(codes)}; "
            "choose another with --label-column"
        )
    names = tuple(str(name) for _, name in codes.values())
    return names, {
        split: np.array([codes[v][0] if v in codes else -1 for v in rows], dtype=np.int64)
        for split, rows in values.items()
    }


def _codes(feature, values: dict[str, list], column: str) -> dict:
    """Stored value → (label, name), in label order."""
    from datasets import ClassLabel

    if isinstance(feature, ClassLabel):
        return {i: (i, name) for i, name in enumerate(feature.names)}
    stored = [value for rows in values.values() for value in rows if value is not None]
    if any(isinstance(value, (list, dict)) for value in stored):
        raise SourceError(
            f"expected one label an image in column {column!r}, found lists of them; "
            "choose another with --label-column"
        )
    return {value: (i, value) for i, value in enumerate(sorted(set(stored)))}


def _splits(tables, labels, image_column: str, problems: list[Problem]) -> dict[str, Split]:
    splits = {}
    for name, table in tables.items():
        split = split_called(name) or ("train" if len(tables) == 1 else None)
        labelled = np.flatnonzero(labels[name] >= 0)
        if split is None or split in splits:
            problems.append(
                Problem(where=f"split {name!r}", why="not used: not train, val or test")
            )
        elif len(labelled) == 0:
            problems.append(Problem(where=f"split {name!r}", why="not used: it has no labels"))
        else:
            if missing := len(table) - len(labelled):
                problems.append(
                    Problem(where=f"split {name!r}", why=f"{missing} rows without label")
                )
            splits[split] = _split(name, table, labels[name], image_column).take(labelled)
    if not splits:
        raise SourceError(
            f"expected a labelled split, found {', '.join(tables)}; choose another set"
        )
    return splits


def _split(name: str, table, labels: np.ndarray, image_column: str) -> Split:
    from datasets import Image

    images = table.select_columns([image_column]).cast_column(image_column, Image(decode=False))

    def read(i: int):
        stored = images[i][image_column] or {}
        return stored.get("bytes") or stored.get("path") or b""

    names = tuple(f"{name} row {i}" for i in range(len(labels)))
    return Split(labels=labels, names=names, read=read)


def _described(features) -> str:
    return ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
