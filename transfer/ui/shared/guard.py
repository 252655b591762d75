"""A page that repeats to nobody what was posted to it, and opens none but uploaded files."""

from contextlib import suppress
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder
from gradio_client.utils import traverse

from transfer.errors import ImageError

REFUSED = "This page takes no such choice or file; choose again, or reload the page."


class SafeBlocks(gr.Blocks):
    """Gradio's own refusals tell and log what was posted, such as what is no choice of a radio or a
    dropdown, or values that are too few; a token may be among them."""

    async def preprocess_data(self, block_fn, inputs, *args, **more):
        try:
            check_files(inputs)
            return await super().preprocess_data(block_fn, inputs, *args, **more)
        except ImageError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception:  # of any kind, for it may hold a value
            raise gr.Error(REFUSED, print_exception=False) from None


def uploaded(file) -> Path:
    """Where an upload lies, by what a visitor posts for it. Raises ImageError.

    In the same words for whatever is none, so that nobody learns which files there are. Gradio
    itself looks only at files that say they are its own, and fetches those with a web address.
    """
    path = file.get("path") if isinstance(file, dict) else None
    if isinstance(path, str):
        with suppress(OSError, RuntimeError, ValueError):  # no such file, a loop of links, a zero
            real = Path(path).resolve(strict=True)
            if real.is_relative_to(Path(get_upload_folder()).resolve()) and real.is_file():
                return real
    raise ImageError(
        "expected a file that was uploaded here, found none; upload it, then ask again"
    )


def check_files(posted) -> None:
    """Of all that a visitor posts to an event, however deep. Raises ImageError."""
    traverse(posted, uploaded, _names_a_file)


def _names_a_file(part) -> bool:
    return isinstance(part, dict) and part.get("path") is not None
