"""A visitor's own data: classes made in the browser photo by photo, and an uploaded zip."""

import hashlib
import shutil
from html import escape
from pathlib import Path

import gradio as gr

from transfer.errors import JobError, SourceError, TransferError
from transfer.image import load_image
from transfer.jobs import Jobs
from transfer.source.own import FEWEST_PHOTOS, OwnImages
from transfer.ui.charts import thumbnails
from transfer.ui.visitor import as_message, known

PHOTOS = "your own photos"
UPLOAD = "your upload "
SHOWN_A_CLASS = 6


class OwnData:
    """Below one folder, each visitor's own: named by a hash, for an id is a secret."""

    def __init__(self, jobs: Jobs):
        self.jobs = jobs
        self.folder = jobs.runs / ".own"

    def source_of(self, visitor: str, source: str) -> Path | None:
        """The folder or zip behind the name of one's own data; None for any other source."""
        if source == PHOTOS:
            return self.images(visitor).folder
        if not source.startswith(UPLOAD):
            return None
        name = source.removeprefix(UPLOAD)
        path = self._of(visitor) / Path(name).name
        if Path(name).name != name or not path.is_file():
            raise JobError("expected an upload of yours, found none of that name; upload it again")
        return path

    def images(self, visitor: str) -> OwnImages:
        return OwnImages(self._of(visitor) / "own-photos")

    def add_class(self, visitor: str, name: str):
        """(the classes to choose from, what is in them, an empty name to type the next into)."""
        with as_message():
            name = self.images(visitor).add_class(name)
        return self._choice(visitor, name), self.overview(visitor), ""

    def remove_class(self, visitor: str, name: str | None):
        with as_message():
            self.images(visitor).remove_class(name or "")
        return self._choice(visitor), self.overview(visitor)

    def add_photos(self, visitor: str, name: str | None, photos: list[str] | str | None):
        """(what is in the classes, nothing left in the field); what cannot be read is told."""
        refused = []
        for photo in [photos] if isinstance(photos, str) else photos or []:
            self._check_room(visitor, photo)
            try:
                self.images(visitor).add(name or "", Path(photo))
            except SourceError as error:
                raise gr.Error(str(error), print_exception=False) from None
            except TransferError as error:
                refused.append(f"{Path(photo).name}: {error}")
        if refused:
            more = f" And {len(refused) - 1} more." if len(refused) > 1 else ""
            gr.Warning(escape(f"Not added: {refused[0]}.{more}"))
        return self.overview(visitor), None

    def show(self, visitor: str):
        """What stands there when the page is opened; being there keeps it from expiring."""
        self.jobs.seen(known(visitor))
        return self._choice(visitor), self.overview(visitor)

    def use(self, visitor: str) -> str:
        """The name of one's photos as a source, once there are enough of them."""
        with as_message():
            self.images(visitor).check()
        return PHOTOS

    def download(self, visitor: str) -> str:
        """The path of a zip of all one's photos."""
        images = self.images(visitor)
        if not any(images.counts().values()):
            raise gr.Error("There are no photos yet; add some first.", print_exception=False)
        return str(images.write_zip(self._of(visitor) / "own-photos.zip"))

    def upload(self, visitor: str, file: str | None) -> str:
        """Keep an uploaded zip; returns its name as a source."""
        if not file:
            raise gr.Error("Choose a zip of class folders first.", print_exception=False)
        self._check_room(visitor, file)
        target = self._of(visitor) / Path(file).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        return f"{UPLOAD}{target.name}"

    def overview(self, visitor: str) -> str:
        """Every class with its newest photos, and what is still wanting."""
        images = self.images(visitor)
        parts = []
        for name, number in images.counts().items():
            wanting = max(0, FEWEST_PHOTOS - number)
            more = f", {wanting} more needed" if wanting else ""
            newest = sorted((images.folder / name).glob("[0-9]*.jpg"))[-SHOWN_A_CLASS:]
            shown = thumbnails([(load_image(path), name) for path in newest])
            parts.append(f"<h4>{escape(name)}: {number} photos{more}</h4>{shown}")
        if not parts:
            return "<p>No classes yet. Two at least, five photos each, more do better.</p>"
        return "".join(parts)

    def _check_room(self, visitor: str, file: str) -> None:
        with as_message():
            self.jobs.check_upload(known(visitor), Path(file).stat().st_size)

    def _of(self, visitor: str) -> Path:
        return self.folder / hashlib.sha256(known(visitor).encode()).hexdigest()[:16]

    def _choice(self, visitor: str, chosen: str | None = None) -> gr.Radio:
        names = list(self.images(visitor).counts())
        return gr.Radio(choices=names, value=chosen or (names[0] if names else None))
