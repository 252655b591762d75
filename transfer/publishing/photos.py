"""A person's own photos → the files of a dataset repository on the Hub, except its card."""

from pathlib import Path

from transfer.data.local.custom import CustomImages, bare_photo
from transfer.errors import ImageError, PublishError, SourceError
from transfer.publishing.bundle import DATASET, Bundle, files_in
from transfer.publishing.new_folder import new_folder

TRAIN = "train"  # the one split; its class folders may then be called `test drive` or `my train`


def read_photos(folder: str | Path) -> CustomImages:
    """Class folders as the page makes them, CLASS/00001.jpg. Raises SourceError or PublishError."""
    images = CustomImages(Path(folder).expanduser())
    images.check()
    photos = {photo for _, photo in images.photos()}
    shown = (path for path in images.folder.glob("*/*") if not path.name.startswith("."))
    if others := sorted(path.name for path in shown if path not in photos):
        raise PublishError(
            "expected only photos that this app saved, like cat/00001.jpg, found "
            f"{others[0][:80]!r}; add it to a class on the page, then publish from there"
        )
    if hidden := [name for name in images.counts() if name.startswith(("__", "."))]:
        raise PublishError(
            f"expected classes that the library datasets reads, found {hidden[0]!r}; begin its "
            "name with a letter"
        )
    return images


def write_photos(source: str | Path, folder: Path) -> Bundle:
    """Copy the photos to train/CLASS/00001.jpg in the new or empty `folder`, without metadata.

    Raises SourceError, PublishError, or RunError if the folder cannot be written.
    """
    images = read_photos(source)
    with new_folder(folder) as part:
        for name, photo in images.photos():
            target = part / TRAIN / name / photo.name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.write_bytes(bare_photo(photo))
            except FileNotFoundError:
                raise SourceError("the photos were changed meanwhile; publish again") from None
            except ImageError as error:
                raise PublishError(f"{name}/{photo.name}: {error}") from None
    files = {name: path.stat().st_size for name, path in files_in(folder).items()}
    classes = tuple(sorted({name.split("/")[1] for name in files}))
    return Bundle(folder=folder, what=DATASET, files=files, run=None, classes=classes)
