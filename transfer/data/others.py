"""Photos of other things than the classes, by which a training learns what is unlike them."""

from pathlib import Path

import numpy as np

from transfer.data.dataset import DataIssue, ImageDataset, Split, because
from transfer.data.file_names import is_image
from transfer.data.local.archive import archive_tree
from transfer.data.local.folder import folder_tree
from transfer.data.source import local_path
from transfer.errors import SourceError
from transfer.formatting import encodable

OTHERS = "others"  # the split
FEWEST_OTHERS, MOST_OTHERS = 5, 500


def with_others(images: ImageDataset, source: str | None) -> ImageDataset:
    """The dataset with a split OTHERS, whose labels mean nothing: all images in a folder or a zip,
    in whatever folders they are there, at most MOST_OTHERS. Raises SourceError."""
    if source is None:
        return images
    path = local_path(source.strip())
    if path is None:
        raise SourceError(
            "expected a folder or a zip of photos of other things, found "
            f"{Path(source.strip()).name[-80:]!r}, which does not exist; check the spelling"
        )
    tree, revision, problems = archive_tree(path) if path.is_file() else folder_tree(path)
    files = list(filter(is_image, tree.files))
    if len(files) < FEWEST_OTHERS:
        raise SourceError(
            f"expected at least {FEWEST_OTHERS} photos of other things in {tree.name!r}, found "
            f"{len(files)}{because(problems)}; add photos"
        )
    rows = np.linspace(0, len(files) - 1, min(len(files), MOST_OTHERS)).astype(int)
    used = [files[row] for row in rows]
    if len(used) < len(files):
        why = f"{len(used)} of {len(files):,} photos of other things are used, evenly spread"
        problems.append(DataIssue(tree.name, why, skipped=0))
    others = Split(
        labels=np.zeros(len(used), dtype=np.int64),
        names=tuple(map(encodable, used)),
        read=lambda i: tree.read(used[i]),
        revision=revision,
    )
    return images.with_splits(images.splits | {OTHERS: others}, *problems)
