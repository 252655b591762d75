"""A visitor's own data: classes made in the browser photo by photo, and an uploaded zip."""

import hashlib
import shutil
from collections.abc import Iterable
from html import escape
from pathlib import Path

import gradio as gr

from transfer.data.image import load_image
from transfer.data.local.custom import FEWEST_PHOTOS, CustomImages
from transfer.data.presets import PRESETS
from transfer.errors import ImageError, JobError, TransferError
from transfer.jobs import JobManager
from transfer.ui.shared.downloads import Downloads
from transfer.ui.shared.images import thumbnails
from transfer.ui.shared.session import as_message, require_visitor

PHOTOS = "your own photos"
UPLOAD = "your upload "
SHOWN_A_CLASS = 6


class UploadHandlers:
    """Below one folder, each visitor's own: named by a hash, for an id is a secret."""

    def __init__(self, jobs: JobManager):
        self.jobs = jobs
        self.folder = jobs.runs / ".own"
        self.downloads = Downloads()

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

    def images(self, visitor: str) -> CustomImages:
        return CustomImages(self._of(visitor) / "own-photos")

    def add_class(self, visitor: str, name: str):
        """(the classes to choose from, what is in them, an empty name to type the next into)."""
        with as_message():
            name = self.images(visitor).add_class(name)
        return self._choice(visitor, name), self.overview(visitor), ""

    def remove_class(self, visitor: str, name: str | None):
        """What is `at_hand`, once a class is gone with all its photos."""
        with as_message():
            self.images(visitor).remove_class(name or "")
        return self._sources(visitor), self._choice(visitor), self.overview(visitor)

    def add_photos(self, visitor: str, name: str | None, photos: list[str] | str | None):
        """(what is in the classes, nothing left in the field); what is not added is told."""
        photos = [photos] if isinstance(photos, str) else photos or []
        images, added, why = self.images(visitor), 0, ""
        try:
            self._check_room(visitor, *photos)
            for photo in photos:
                try:
                    images.add(name or "", Path(photo))
                    added += 1
                except ImageError as error:
                    why = f"{Path(photo).name}: {error}"
        except TransferError as error:  # of the class or of the room, so of all that follow
            why = str(error)
        if why:
            gr.Warning(escape(f"Added {added} of {len(photos)} photos; {why}."))
        return self.overview(visitor), None

    def at_hand(self, visitor: str):
        """(the sources to choose from, the classes, what is in them) as the page is opened; being
        there keeps one's own from expiring."""
        self.jobs.record_visit(require_visitor(visitor))
        return self._sources(visitor), self._choice(visitor), self.overview(visitor)

    def use(self, visitor: str) -> gr.Dropdown:
        """One's photos as the source, once there are enough of them."""
        with as_message():
            self.images(visitor).check()
        return self._sources(visitor, PHOTOS)

    def download(self, visitor: str) -> str:
        """The path of a zip of all one's photos, which is gone again after a while."""
        images = self.images(visitor)
        if not any(images.counts().values()):
            raise gr.Error("There are no photos yet; add some first.", print_exception=False)
        return str(images.write_zip(self.downloads.new_folder(visitor) / "own-photos.zip"))

    def upload(self, visitor: str, file: str | None):
        """(an uploaded zip as the source, nothing left in the field); it replaces one of its
        name."""
        if not file:
            raise gr.Error("Choose a zip of class folders first.", print_exception=False)
        with as_message():
            self._check_room(visitor, file)
        target = self._of(visitor) / Path(file).name
        part = target.with_name(f".{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(file, part)
            part.replace(target)  # whoever reads the old one reads on
        finally:
            part.unlink(missing_ok=True)
        return self._sources(visitor, f"{UPLOAD}{target.name}"), None

    def remove_upload(self, visitor: str, source: str | None) -> gr.Dropdown:
        """The digits as the source, once the upload is gone that was it."""
        with as_message():
            if not isinstance(source, str) or not source.startswith(UPLOAD):
                raise JobError("expected an upload of yours; choose one under Images first")
            path, job = self.source_of(visitor, source), self.jobs.newest_of(visitor)
            if job is not None and job.live and job.source == str(path):
                raise JobError("your training reads this upload; wait for its end, or stop it")
        path.unlink(missing_ok=True)
        return self._sources(visitor, "digits")

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

    def _check_room(self, visitor: str, *files: str) -> None:
        """Raises JobError."""
        size = sum(Path(file).stat().st_size for file in files)
        self.jobs.check_upload(require_visitor(visitor), size)

    def _of(self, visitor: str) -> Path:
        return self.folder / hashlib.sha256(require_visitor(visitor).encode()).hexdigest()[:16]

    def _sources(self, visitor: str, chosen: str | None = None) -> gr.Dropdown:
        """Those of everybody and one's own; the source stays what it is unless one is `chosen`."""
        own = [PHOTOS] if any(self.images(visitor).counts().values()) else []
        uploads = sorted(path for path in self._of(visitor).glob("[!.]*") if path.is_file())
        own += [f"{UPLOAD}{path.name}" for path in uploads]
        return gr.Dropdown(choices=choices(own), **({"value": chosen} if chosen else {}))

    def _choice(self, visitor: str, chosen: str | None = None) -> gr.Radio:
        names = list(self.images(visitor).counts())
        return gr.Radio(choices=names, value=chosen or (names[0] if names else None))


def choices(own: Iterable[str] = ()) -> list[tuple[str, str]]:
    """(what it is called, source) of the data sets that everybody may choose, and of one's own."""
    return [(preset.title, preset.source) for preset in PRESETS] + [(name, name) for name in own]
