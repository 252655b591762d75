"""What a visitor does on the class cards: photos and classes come, go and come back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np

from transfer.data.dataset import ImageDataset
from transfer.data.local.custom import FEWEST_PHOTOS, MAX_CLASSES, CustomImages
from transfer.data.others import FEWEST_OTHERS
from transfer.data.source import load_splits, local_path
from transfer.errors import ImageError, JobError, TransferError
from transfer.formatting import error_line
from transfer.ui.data.cards import FIRST_CLASSES, class_cards
from transfer.ui.data.uploads import OTHERS, PHOTOS, UploadHandlers
from transfer.ui.shared.components import live_region, warning
from transfer.ui.shared.guard import posted, uploaded
from transfer.ui.shared.loaded_runs import run_with_source
from transfer.ui.shared.session import require_visitor

if TYPE_CHECKING:
    from transfer.ui.predict.latest import Page

MOST_COPIED = 100  # photos of a class of a finished run
LOST = "expected photos of at most 50 MB, found a larger one or a lost connection; try it again"


class TeachHandlers:
    """Each handler checks its input, since anybody can post anything as an event."""

    def __init__(self, uploads: UploadHandlers):
        self.uploads = uploads

    def cards(self, visitor: str) -> str:
        return class_cards(self.uploads.images(visitor), FEWEST_PHOTOS)

    def others_card(self, visitor: str) -> str:
        return class_cards(self.uploads.others(visitor), FEWEST_OTHERS, only=OTHERS)

    def change(self, visitor: str, event: gr.EventData) -> tuple[gr.Dropdown, str, str]:
        """(the datasets to choose from, the cards, why something was refused)."""
        refused = self._do(visitor, self.uploads.images(visitor), FIRST_CLASSES, event)
        return self.uploads.sources(visitor), self.cards(visitor), refused

    def change_others(self, visitor: str, event: gr.EventData) -> tuple[str, str]:
        """The same for the photos of other things, without datasets."""
        refused = self._do(visitor, self.uploads.others(visitor), (OTHERS,), event)
        return self.others_card(visitor), refused

    def correct(self, visitor: str, page: "Page", label: str | None) -> tuple:
        """What `change` returns, once the first of the pictures that were asked about has become a
        photo of the class `label`, or has moved there from another class."""
        images = self.uploads.images(visitor)
        with _explained() as why:
            if not page.asked:
                raise JobError("expected a photo to correct, found none; try one first")
            picture = page.asked[0].picture
            if isinstance(picture, Path) and picture.is_relative_to(images.folder):
                images.move_photo(picture.parent.name, picture.name, label or "")
            else:
                self.uploads.check_room(visitor)
                images.add_picture(label or "", picture)
        return self.uploads.sources(visitor), self.cards(visitor), live_region("".join(why))

    def teach_more(self, visitor: str, clicked: gr.EventData) -> tuple:
        """What `change` returns, once the photos of a finished run are on the cards, and these are
        the dataset. The classes that were there are removed, and come back with Undo."""
        images = self.uploads.images(visitor)
        with _explained() as why:
            run_id = posted(clicked, "run")
            _, run, source = run_with_source(self.uploads.jobs, require_visitor(visitor), run_id)
            if source is None or local_path(source) is None:
                raise JobError("expected a run on photos of yours; choose another, or upload these")
            if Path(source) != images.folder:
                found = load_splits(source, run.settings)
                if len(found.classes) > MAX_CLASSES:
                    raise JobError(
                        f"expected a run of at most {MAX_CLASSES} classes; choose another"
                    )
                self.uploads.check_room(visitor)
                images.remove_all()
                _copy(found, images)
        chosen = None if why else PHOTOS
        return (
            self.uploads.sources(visitor, chosen),
            self.cards(visitor),
            live_region("".join(why)),
        )

    def _do(
        self, visitor: str, images: CustomImages, first: tuple[str, ...], event: gr.EventData
    ) -> str:
        """Change the images; until there is a class, the `first` ones are on the cards only."""
        require_visitor(visitor)
        with _explained() as why:
            if not images.counts():
                for name in first:
                    images.add_class(name)
            action = _text(event, "action")
            if action == "add":
                return self._add(visitor, images, event)
            if action not in CHANGES:
                raise JobError("expected a change of a class or photo; do this on the cards")
            CHANGES[action](images, event)
        return live_region("".join(why))

    def _add(self, visitor: str, images: CustomImages, event: gr.EventData) -> str:
        """Add uploaded photos to a class; returns why some were not added, as HTML."""
        name, files = _text(event, "name"), posted(event, "files")
        files = files if isinstance(files, list) else []
        added, why = 0, ""
        try:
            for file in files:
                try:
                    photo = uploaded({"path": file})
                    self.uploads.check_room(visitor, photo)
                    images.add(name, photo)
                    added += 1
                except ImageError as error:
                    why = f"{Path(str(file)).name}: {error}" if file else LOST
        except TransferError as error:  # about the class or the room left: no photo fits any more
            why = str(error)
        return live_region(why and warning(f"Added {added} of {len(files)} photos: {why}"))


def _copy(found: ImageDataset, images: CustomImages) -> None:
    """The first photos of each class that a run has learned from. Raises SourceError."""
    for name in found.classes:
        images.add_class(name)
    learned = [found.splits[split] for split in ("train", "validation") if split in found.splits]
    for split in learned:
        for label, name in enumerate(found.classes):
            room = MOST_COPIED - images.counts()[name]
            for row in np.flatnonzero(split.labels == label)[:room]:
                with suppress(ImageError):
                    images.add_picture(name, split.read(int(row)))


@contextmanager
def _explained() -> Iterator[list[str]]:
    """Errors as HTML in the list that this yields."""
    why: list[str] = []
    try:
        yield why
    except (TransferError, OSError) as error:
        why.append(warning(error_line(error) or "the change was not saved; try again"))


CHANGES: dict[str, Callable[[CustomImages, gr.EventData], object]] = {
    "new_class": lambda images, _: images.add_class(_unused(images)),
    "rename": lambda images, event: images.rename_class(_text(event, "name"), _text(event, "new")),
    "remove_class": lambda images, event: images.remove_class(_text(event, "name")),
    "remove_photo": lambda images, event: images.remove_photo(
        _text(event, "name"), _text(event, "photo")
    ),
    "undo": lambda images, _: images.undo(),
}


def _text(event: gr.EventData, name: str) -> str:
    value = posted(event, name)
    return value if isinstance(value, str) else ""


def _unused(images: CustomImages) -> str:
    """Class 3, say: a name to begin with."""
    known = {name.casefold() for name in images.counts()}
    names = (f"Class {len(known) + more}" for more in range(1, len(known) + 2))
    return next(name for name in names if name.casefold() not in known)
