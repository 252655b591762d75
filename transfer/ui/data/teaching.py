"""What a visitor does on the class cards: photos and classes come, go and come back."""

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from transfer.data.local.custom import FEWEST_PHOTOS, CustomImages
from transfer.data.others import FEWEST_OTHERS
from transfer.errors import ImageError, JobError, TransferError
from transfer.formatting import error_line
from transfer.ui.data.cards import FIRST_CLASSES, class_cards
from transfer.ui.data.uploads import OTHERS, UploadHandlers
from transfer.ui.shared.components import live_region, warning
from transfer.ui.shared.guard import posted, uploaded
from transfer.ui.shared.session import require_visitor

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

    def _do(
        self, visitor: str, images: CustomImages, first: tuple[str, ...], event: gr.EventData
    ) -> str:
        """Change the images; until there is a class, the `first` ones are on the cards only."""
        require_visitor(visitor)
        try:
            if not images.counts():
                for name in first:
                    images.add_class(name)
            action = _text(event, "action")
            if action == "add":
                return self._add(visitor, images, event)
            if action not in CHANGES:
                raise JobError("expected a change of a class or photo; do this on the cards")
            CHANGES[action](images, event)
        except (TransferError, OSError) as error:
            return live_region(warning(error_line(error) or "the change was not saved; try again"))
        return live_region("")

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
