"""The page: `python app.py`, then open the address that it prints."""

import argparse
import os
import threading
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def main() -> None:
    import gradio as gr

    from transfer.jobs import Jobs
    from transfer.ui.page import build_page
    from transfer.ui.theme import CSS, theme

    options = _options()
    jobs = Jobs(options.runs)
    page = build_page(jobs, shared=gr.utils.get_space() is not None)
    try:
        page.launch(
            server_port=options.port,
            theme=theme(),
            css=CSS,
            max_threads=200,
            max_file_size="50mb",
            show_error=False,
            footer_links=[],
            prevent_thread_lock=True,
        )
        threading.Thread(target=jobs.keep_warm, daemon=True).start()
        page.block_thread()
    finally:
        jobs.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 up")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of finished runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
