"""The page, rebuilt in the open browser whenever a file of it changes.

PYTHONPATH=. gradio examples/reload.py
"""

from pathlib import Path

import gradio as gr

from transfer.jobs import JobManager
from transfer.ui.page import build_page
from transfer.ui.theme import CSS, theme

if gr.NO_RELOAD:  # trainings go on while the page is rebuilt
    jobs = JobManager(Path("runs"))

demo = build_page(jobs, shared=False)

if __name__ == "__main__":
    demo.launch(theme=theme(), css=CSS)
