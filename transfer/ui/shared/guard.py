"""A page whose errors never repeat what was posted, that opens only uploaded files, and whose
answers can always be sent."""

from contextlib import suppress
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder
from gradio_client.utils import traverse

from transfer.errors import ImageError
from transfer.formatting import encodable_parts

REFUSED = "This choice or file is not accepted. Choose again, or reload the page."


class SafeBlocks(gr.Blocks):
    """Gradio's own errors show and log what was posted, such as a value that is no choice of a
    dropdown, or too few values. That may contain a token."""

    async def preprocess_data(self, block_fn, inputs, *args, **more):
        try:
            traverse(inputs, uploaded, _is_file)  # however deep
            return await super().preprocess_data(block_fn, inputs, *args, **more)
        except ImageError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception:  # of any kind: its text may contain a value
            raise gr.Error(REFUSED, print_exception=False) from None

    async def postprocess_data(self, *args, **more):
        """A name that is not UTF-8 would end the connection of the whole page."""
        return encodable_parts(await super().postprocess_data(*args, **more))


def uploaded(file) -> Path:
    """The path of an upload, from what a visitor posts for it. Raises ImageError.

    The same error for everything else, so that nobody can find out which files exist. Gradio itself
    only checks files that are marked as its own, and downloads those with a web address.
    """
    path = file.get("path") if isinstance(file, dict) else None
    if isinstance(path, str):
        with suppress(OSError, RuntimeError, ValueError):  # missing, a loop of links, a null byte
            real = Path(path).resolve(strict=True)
            if real.is_relative_to(Path(get_upload_folder()).resolve()) and real.is_file():
                return real
    raise ImageError("expected a file that was uploaded here, found none; upload it first")


def posted(event: gr.EventData, name: str):
    """What the page's own JavaScript sent with an event under this name; None if nothing."""
    with suppress(AttributeError, TypeError):  # something else was posted
        return getattr(event, name)
    return None


def _is_file(part) -> bool:
    return isinstance(part, dict) and part.get("path") is not None
