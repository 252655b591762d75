"""Files made for one visitor to take away: where no other finds them, and gone after a while."""

import shutil
import tempfile
import threading
import zipfile
from pathlib import Path

from gradio.utils import get_upload_folder

SECONDS_A_DOWNLOAD_STAYS = 600.0


class Downloads:
    """Folders with names that nobody can guess, in the one from which gradio serves files as they
    are: from any other it would keep a copy for ever."""

    def __init__(self):
        self._root: tempfile.TemporaryDirectory | None = None

    def new_folder(self) -> Path:
        """An empty folder, to be removed after SECONDS_A_DOWNLOAD_STAYS or with the app."""
        if self._root is None or not Path(self._root.name).is_dir():
            Path(get_upload_folder()).mkdir(parents=True, exist_ok=True)
            self._root = tempfile.TemporaryDirectory(
                prefix="transfer-", dir=get_upload_folder(), ignore_cleanup_errors=True
            )
        folder = Path(tempfile.mkdtemp(dir=self._root.name))
        timer = threading.Timer(SECONDS_A_DOWNLOAD_STAYS, shutil.rmtree, (folder, True))
        timer.daemon = True
        timer.start()
        return folder


def zipped(folder: Path, target: Path) -> Path:
    """The files of `folder` in the zip `target`, below its name, without compression: weights do
    not get smaller."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                archive.write(path, Path(target.stem, path.name))
    return target
