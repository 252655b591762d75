"""A visitor's own images: classes made photo by photo in the browser, and uploaded zips."""

import shutil
from pathlib import Path

import gradio as gr

from transfer.data.image import load_image
from transfer.data.local.custom import CustomImages
from transfer.data.others import FEWEST_OTHERS
from transfer.data.presets import PRESETS
from transfer.errors import JobError
from transfer.jobs import JobManager
from transfer.ui.shared.downloads import Downloads
from transfer.ui.shared.images import data_url
from transfer.ui.shared.live_runs import own_folder, own_photos
from transfer.ui.shared.session import as_message, require_visitor

PHOTOS = "your own photos"
UPLOAD = "your upload "
OTHERS = "Other things"  # the class of the photos that show none of the visitor's classes
SHOWN_PER_CLASS, SMALL = 6, 64  # pixels on a tile
NO_CLASSES = "<p>No classes yet. Make at least two, with five photos or more in each.</p>"


class UploadHandlers:
    """Each visitor has a folder, named by a hash because the visitor's id is a secret."""

    def __init__(self, jobs: JobManager):
        self.jobs = jobs
        self.downloads = Downloads()

    def path_of(self, visitor: str, source: str) -> Path | None:
        """The folder of one's photos or an uploaded zip; None for any other source.

        Raises JobError for an upload that the visitor does not have.
        """
        if source == PHOTOS:
            return self.images(visitor).folder
        if not source.startswith(UPLOAD):
            return None
        name = source.removeprefix(UPLOAD)
        path = own_folder(self.jobs, visitor) / Path(name).name
        if Path(name).name != name or not path.is_file():
            raise JobError("expected an upload of yours, found none of that name; upload it again")
        return path

    def images(self, visitor: str) -> CustomImages:
        return own_photos(self.jobs, visitor)

    def others(self, visitor: str) -> CustomImages:
        return CustomImages(own_folder(self.jobs, visitor) / "other-things")

    def others_of(self, visitor: str) -> str | None:
        """Their folder, if there are enough for a training."""
        images = self.others(visitor)
        return str(images.folder) if images.counts().get(OTHERS, 0) >= FEWEST_OTHERS else None

    def opened(self, visitor: str) -> gr.Dropdown:
        """`sources`, as the page opens. A visit keeps one's images from expiring."""
        self.jobs.expiry.record_visit(require_visitor(visitor))
        return self.sources(visitor)

    def download(self, visitor: str) -> str:
        """The path of a temporary zip of all one's photos."""
        images = self.images(visitor)
        if not any(images.counts().values()):
            raise gr.Error("There are no photos yet. Add some first.", print_exception=False)
        return str(images.write_zip(self.downloads.new_folder(visitor) / "own-photos.zip"))

    def upload(self, visitor: str, file: str | None):
        """(the uploaded zip as the dataset, an empty upload field); replaces one of that name."""
        if not file:
            raise gr.Error("Choose a zip of class folders first.", print_exception=False)
        with as_message():
            self.check_room(visitor, file)
        target = own_folder(self.jobs, visitor) / Path(file).name
        part = target.with_name(f".{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(file, part)
            part.replace(target)  # a training that reads the old zip keeps reading it
        finally:
            part.unlink(missing_ok=True)
        return self.sources(visitor, f"{UPLOAD}{target.name}"), None

    def remove_upload(self, visitor: str, source: str | None) -> gr.Dropdown:
        """Delete the chosen upload; digits is the dataset then."""
        with as_message():
            if not isinstance(source, str) or not source.startswith(UPLOAD):
                raise JobError("expected an upload of yours; choose one under Dataset first")
            path, job = self.path_of(visitor, source), self.jobs.newest_of(visitor)
            if job is not None and job.live and job.source == str(path):
                raise JobError("your training reads this upload; wait for its end, or stop it")
        path.unlink(missing_ok=True)
        return self.sources(visitor, "digits")

    def newest(self, visitor: str) -> list[str]:
        """The newest photo of each class, as a data URL."""
        images = self.images(visitor)
        photos = images.by_class().values()
        return [data_url(load_image(of_class[-1]), SMALL) for of_class in photos if of_class]

    def check_room(self, visitor: str, *files: str) -> None:
        """Raises JobError when the visitor's images would take too much disk."""
        size = sum(Path(file).stat().st_size for file in files)
        self.jobs.expiry.check_upload(require_visitor(visitor), size)

    def sources(self, visitor: str, chosen: str | None = None) -> gr.Dropdown:
        """The presets and one's own; without `chosen` the current choice stays."""
        own = [PHOTOS] if any(self.images(visitor).counts().values()) else []
        uploads = sorted(
            path for path in own_folder(self.jobs, visitor).glob("[!.]*") if path.is_file()
        )
        own += [f"{UPLOAD}{path.name}" for path in uploads]
        return gr.Dropdown(choices=choices(own), **({"value": chosen} if chosen else {}))


def choices(own: list[str] | tuple = ()) -> list[tuple[str, str]]:
    """(title, source) of the presets and of one's own datasets."""
    return [(preset.title, preset.source) for preset in PRESETS] + [(name, name) for name in own]
