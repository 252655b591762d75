"""Files for one visitor to download: in folders that nobody can guess, removed after a while."""

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

SECONDS_A_FILE_STAYS = 3_600  # gradio deletes a file on the page after so long


class Downloads:
    """One folder for each visitor, below the folder that gradio serves files from.

    From any other place gradio would serve a copy. It deletes what a DownloadButton has shown on
    the schedule of `gr.Blocks(delete_cache=…)`, and everything when the app ends.
    """

    def __init__(self):
        self._folders: dict[str, Path] = {}
        self._lock = threading.Lock()

    def new_folder(self, visitor: str) -> Path:
        """An empty folder; the visitor's last one and all old ones are removed."""
        root = Path(get_upload_folder())
        root.mkdir(parents=True, exist_ok=True)
        oldest = time.time() - SECONDS_A_FILE_STAYS
        with self._lock:
            for other, folder in [*self._folders.items()]:
                if other == visitor or not folder.is_dir() or folder.stat().st_mtime < oldest:
                    shutil.rmtree(self._folders.pop(other), ignore_errors=True)
            self._folders[visitor] = Path(tempfile.mkdtemp(prefix="transfer-", dir=root))
            return self._folders[visitor]


def zip_folder(folder: Path, target: Path, **texts: str) -> Path:
    """Zip what is visible in `folder`, below the zip's name. `texts` are Markdown files, added
    where the folder has none of that name. Weights do not compress."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in name.parts)
            if path.is_file() and not hidden:
                archive.write(path, target.stem / name)
        for name, text in texts.items():
            if not (folder / f"{name}.md").exists():
                archive.writestr(f"{target.stem}/{name}.md", text)
    return target


CLICK = """() => setTimeout(() => {{
    const at = document.getElementById("{name}");
    (at.querySelector("a, button") || at).click();
}}, 200)"""


def download_on_click(button: gr.Button, make: Callable, inputs: list, name: str, **limits) -> None:
    """Download the file whose path `make` returns.

    Gradio's DownloadButton can only download a file that exists already, so a hidden one gets the
    file and is clicked by the browser. `name` is its id on the page; `limits` are an event's,
    and so is `js`, if what is downloaded depends on what is in the browser.
    """
    hidden, label = gr.DownloadButton(elem_id=name, elem_classes="fetched"), button.value
    busy = button.click(
        lambda: gr.Button("Making the file …", interactive=False), None, button, **QUIET
    )
    making = busy.then(make, inputs, hidden, **PRIVATE, **limits)
    making.success(js=CLICK.format(name=name), **QUIET)
    for ended in (making.success, making.failure):  # gradio's `then` does not follow a failure
        ended(lambda: gr.Button(label, interactive=True), None, button, **QUIET)
