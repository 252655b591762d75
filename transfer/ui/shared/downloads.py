"""Files made for one visitor to take away: where no other finds them, and gone after a while."""

import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from transfer.ui.shared.session import PRIVATE, QUIET

SECONDS_A_DOWNLOAD_STAYS = 600.0


class Downloads:
    """One of a kind a visitor, in folders with names that nobody can guess, below the one from
    which gradio serves files as they are: from any other it would keep a copy for ever."""

    def __init__(self):
        self._root: tempfile.TemporaryDirectory | None = None
        self._kept: dict[str, tuple[float, Path]] = {}  # visitor → (when, folder), oldest first
        self._lock = threading.Lock()

    def new_folder(self, visitor: str) -> Path:
        """An empty folder instead of this visitor's last one, to be removed after
        SECONDS_A_DOWNLOAD_STAYS or with the app."""
        with self._lock:
            self._remove(visitor)
            if self._root is None or not Path(self._root.name).is_dir():
                Path(get_upload_folder()).mkdir(parents=True, exist_ok=True)
                self._root = tempfile.TemporaryDirectory(
                    prefix="transfer-", dir=get_upload_folder(), ignore_cleanup_errors=True
                )
            folder = Path(tempfile.mkdtemp(dir=self._root.name))
            self._kept[visitor] = time.monotonic(), folder
            if len(self._kept) == 1:
                self._remove_later(SECONDS_A_DOWNLOAD_STAYS)
            return folder

    def _remove_old(self) -> None:
        """In one thread for all: it comes again as long as something is left."""
        with self._lock:
            for visitor, (made, _) in [*self._kept.items()]:
                left = made + SECONDS_A_DOWNLOAD_STAYS - time.monotonic()
                if left > 0:
                    self._remove_later(left)
                    return
                self._remove(visitor)

    def _remove_later(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._remove_old)
        timer.daemon = True
        timer.start()

    def _remove(self, visitor: str) -> None:
        if visitor in self._kept:
            shutil.rmtree(self._kept.pop(visitor)[1], ignore_errors=True)


def zipped(folder: Path, target: Path) -> Path:
    """The files of `folder` in the zip `target`, below its name, without compression: weights do
    not get smaller."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                archive.write(path, Path(target.stem, path.name))
    return target


PRESS = """() => setTimeout(() => {{
    const at = document.getElementById("{name}");
    (at.querySelector("a, button") || at).click();
}}, 200)"""


def download_on_click(button: gr.Button, make: Callable, inputs: list, name: str, **limits) -> None:
    """`make` gives the file's path; `name` tells this file from others on the page; `limits` are
    those of an event."""
    made, label = gr.DownloadButton(elem_id=name, elem_classes="fetched"), button.value
    busy = button.click(
        lambda: gr.Button("Making the zip …", interactive=False), None, button, **QUIET
    )
    making = busy.then(make, inputs, made, **PRIVATE, **limits)
    making.success(js=PRESS.format(name=name), **QUIET)
    for ended in (making.success, making.failure):  # gradio's `then` follows no failure
        ended(lambda: gr.Button(label, interactive=True), None, button, **QUIET)
