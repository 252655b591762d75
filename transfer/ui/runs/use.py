"""How to use a finished run without the page: the last part of its report."""

import json
import shlex
from html import escape
from pathlib import Path

from transfer.machine.environment import is_shared, space_id
from transfer.runs.run import Run
from transfer.ui.shared.tables import scrolling

PYTHON = """import transfer

classifier = transfer.load({})
for prediction in classifier.classify("photo.jpg", top=3):
    print(f"{{prediction.label}}: {{prediction.score:.1%}}")"""
COMMAND = "python -m transfer classify {} photo.jpg"


def use_it(run: Run) -> str:
    """Code that works as it is; on a shared server for the downloaded zip, as its disk is not the
    visitor's."""
    name, where = run.path.name, "Download the run as a zip and unpack it. Install the package with"
    space = space_id()
    install = f"pip install git+https://huggingface.co/spaces/{space}" if space else "pip install ."
    where += f" <code>{escape(install)}</code>{'' if space else ' in a copy of its source'}."
    if not is_shared():
        path, here = run.path.absolute(), Path.cwd()
        name = str(path.relative_to(here) if path.is_relative_to(here) else path)
        where = "On this machine, in the folder in which the app was started:"
    python, command = PYTHON.format(json.dumps(name, ensure_ascii=False)), shlex.quote(name)
    return (
        f"<details><summary>Use it in Python</summary><p>{where}</p>{_code(python, 'Python')}"
        f"<p>Or from the command line:</p>{_code(COMMAND.format(command), 'Command')}</details>"
    )


def _code(text: str, label: str) -> str:
    return scrolling(f"<pre><code>{escape(text)}</code></pre>", label)
