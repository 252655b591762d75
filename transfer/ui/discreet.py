"""A page that repeats to nobody what was posted to it, and opens none but uploaded files."""

import gradio as gr

from transfer.errors import ImageError
from transfer.ui.uploads import check_files

REFUSED = "This page takes no such choice or file; choose again, or reload the page."


class Discreet(gr.Blocks):
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
