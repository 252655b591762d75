"""What `pip install .` brings along beside the modules."""

import tomllib
from pathlib import Path

import transfer
from transfer.model.weights import BUNDLED
from transfer.ui.shared.loaded_runs import EXAMPLES_FOLDER

PACKAGE = Path(transfer.__file__).parent


def test_every_data_file_is_packaged():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    globs = project["tool"]["setuptools"]["package-data"]["transfer"]
    packaged = {path for glob in globs for path in PACKAGE.glob(glob)}
    needed = {BUNDLED, PACKAGE / "ui" / "style.css", *EXAMPLES_FOLDER.glob("*/*")}
    assert needed <= packaged


def test_every_folder_of_modules_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in folders)
