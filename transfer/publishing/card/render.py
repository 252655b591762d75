"""A Jinja template and facts → Markdown."""

import json
import re
import shlex
from functools import partial
from pathlib import Path

from transfer.formatting import counted
from transfer.publishing.card.escape import as_text, percent


def render(template: Path, facts: dict) -> str:
    """Raises jinja2.TemplateError where a fact is missing."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, autoescape=False
    )
    environment.filters.update(percent=percent, text=as_text, counted=counted)
    environment.filters.update(python=partial(json.dumps, ensure_ascii=False), shell=shlex.quote)
    text = environment.from_string(template.read_text(encoding="utf-8")).render(facts)
    return re.sub(r"\n{3,}", "\n\n", text)
