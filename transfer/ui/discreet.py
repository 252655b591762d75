"""A page that repeats to nobody what was posted to it."""

import gradio as gr

REFUSED = "This page takes no such choice or file; choose again."


class Discreet(gr.Blocks):
    """Gradio's own refusals tell and log what was posted, such as what is no choice of a radio or a
    dropdown, or values that are too few; a token may be among them."""

    async def preprocess_data(self, *args, **more):
        try:
            return await super().preprocess_data(*args, **more)
        except Exception:  # of any kind, for it may hold a value
            raise gr.Error(REFUSED, print_exception=False) from None
