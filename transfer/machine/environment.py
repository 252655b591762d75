"""What the host of a server sets: a Space passes no arguments, so it comes from the environment."""

import os
import tempfile
from pathlib import Path

from transfer.errors import SettingsError

STORAGE = Path("/data")  # where a Space mounts storage that outlives its restarts
YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def on_space() -> bool:
    """Whether this is a Space."""
    return os.environ.get("SYSTEM") == "spaces"


def space_id() -> str:
    """USER/NAME of this Space; empty where this is none."""
    return os.environ.get("SPACE_ID", "") if on_space() else ""


def on_zero_gpu() -> bool:
    """Whether this Space lends a GPU by the call (ZeroGPU). Needs no torch."""
    return bool(os.environ.get("SPACES_ZERO_GPU"))


def is_shared() -> bool:
    """Whether strangers use this server: a Space, or `TRANSFER_SHARED`. Raises SettingsError."""
    said = os.environ.get("TRANSFER_SHARED", "").strip().lower()
    if said not in YES + NO:
        raise SettingsError(f"expected TRANSFER_SHARED to be 1 or 0, found {said[:20]!r}")
    return on_space() or said in YES


def positive_number(name: str) -> float | None:
    """Of an environment variable; None where it is not set. Raises SettingsError."""
    if not (text := os.environ.get(name, "").strip()):
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise SettingsError(f"expected {name} to be a number above 0, found {text[:20]!r}")
    return number


def use_writable_disk() -> None:
    """On a Space: runs and cache lie in STORAGE if it is there, else where one can write, unless
    `TRANSFER_RUNS` and `TRANSFER_CACHE` say otherwise."""
    if not on_space():
        return
    for folder in (STORAGE, Path.cwd(), Path(tempfile.gettempdir())):
        if _can_write(folder):
            for variable, name in (("TRANSFER_RUNS", "runs"), ("TRANSFER_CACHE", "transfer-cache")):
                os.environ[variable] = os.environ.get(variable) or str(folder / name)
            return


def _can_write(folder: Path) -> bool:
    """In any order, as the cache does; some mounted storage only appends."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"ab")
            file.flush()
            file.seek(0)
            file.write(b"b")
            file.flush()
    except (OSError, ValueError):
        return False
    return True
