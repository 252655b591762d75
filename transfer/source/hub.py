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
    from huggingface_hub import HfApi

    try:
        info = hub.ask(lambda: HfApi().dataset_info(name, timeout=hub.ANSWER_SECONDS))
        tables = _load(info.id, config, info.sha)
    except Exception as error:
        raise hub.explain(error, "data set", name, SourceError) from None
    features = next(iter(tables.values())).features
    image_column = _image_column(features, image_column)
    problems: list[Problem] = []
    label_column = _label_column(tables, label_column, image_column, problems)
    classes, labels = _labels(tables, label_column)
    splits = _splits(tables, labels, image_column, problems)
    return LabelledImages(
        source=f"hub:{info.id}" + (f" ({config})" if config else ""),
        revision=info.sha,
        classes=classes,
        splits=splits,
        image_column=image_column,
        label_column=label_column,
        problems=tuple(problems),
    )


def _load(name: str, config: str | None, revision: str) -> dict:
    from datasets import get_dataset_config_names, load_dataset

    try:
        # hf:// keeps a local folder of the same name from being taken instead
        return dict(load_dataset(f"hf://datasets/{name}@{revision}", config))
    except ValueError as error:
        if "onfig" not in str(error):
            raise SourceError(
                f"the data set {name!r} holds nothing that `datasets` can read without running "
                "its code; choose one in Parquet or as an image folder"
            ) from None
        names = ", ".join(get_dataset_config_names(name, revision=revision)[:20])
        raise SourceError(
            f"expected one of the configs of {name!r} ({names}), found {config}; pass --config"
        ) from None


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
    from datasets import ClassLabel

    feature = next(iter(tables.values())).features[column]
    values = {name: table.data.column(column).to_pylist() for name, table in tables.items()}
    if isinstance(feature, ClassLabel):
        classes = tuple(feature.names)
        codes = {i: i for i in range(len(classes))}
    else:
        found = {value for rows in values.values() for value in rows if value is not None}
        if any(isinstance(value, (list, dict)) for rows in values.values() for value in rows[:1]):
            raise SourceError(
                f"expected one label an image in column {column!r}, found lists of them; "
                "choose another with --label-column"
            )
        ordered = sorted(found)
        classes = tuple(str(value) for value in ordered)
        codes = {value: i for i, value in enumerate(ordered)}
    if len(classes) > MAX_CLASSES:
        raise SourceError(
            f"expected at most {MAX_CLASSES} classes in column {column!r}, found {len(classes)}; "
            "choose another with --label-column"
        )
    return classes, {
        name: np.array([codes.get(value, -1) for value in rows], dtype=np.int64)
        for name, rows in values.items()
    }


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
