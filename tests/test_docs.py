"""README and docs: commands parse, names exist, links lead somewhere."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer

import transfer
from transfer.cli.main import app

TOP = Path(transfer.__file__).parents[1]
README = TOP / "README.md"
PAGES = [README, *sorted((TOP / "docs").glob("*.md")), *sorted((TOP / ".github").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")
COMMAND = typer.main.get_command(app)


def blocks(page: Path, language: str) -> list[str]:
    """The text of the page's fenced blocks in one language, "" for those that name none."""
    return [text for found, text in BLOCK.findall(page.read_text()) if found == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_parse(page):
    lines = "".join(blocks(page, "")).splitlines()
    for line in (line for line in lines if line.startswith("python -m transfer")):
        name, *args = shlex.split(line)[3:]
        COMMAND.commands[name].make_context(name, args)  # raises on unknown options or values


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_compiles_and_names_what_the_package_exports(page):
    for text in blocks(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.value.id != "transfer" or node.attr in transfer.__all__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_option_of_train_is_documented():
    text = (TOP / "docs" / "command-line.md").read_text()
    options = [name for option in COMMAND.commands["train"].params for name in option.opts]
    missing = [name for name in options if name.startswith("--") and name not in text]
    assert not missing


def test_the_readme_stays_short():
    assert len(README.read_text().splitlines()) <= 200
