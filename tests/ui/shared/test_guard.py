import os

import pytest

from transfer.errors import ImageError
from transfer.ui.shared.guard import uploaded


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where gradio puts uploads, with one in it."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


def error(file) -> str:
    with pytest.raises(ImageError) as caught:
        uploaded(file)
    return str(caught.value)


def test_only_uploads_are_accepted_and_all_else_has_the_same_error(folder, tmp_path):
    assert uploaded({"path": str(folder / "a.png")}) == (folder / "a.png").resolve()
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"a")
    (folder / "link").symlink_to(secret)
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    paths = [secret, folder, folder / "link", folder / "loop", folder / "pipe", folder / "gone"]
    paths += [folder / ".." / "secret.png", "secret.png", "", ".", "\0", "\ud800", "a" * 5_000]
    paths += ["http://127.0.0.1:1/a.png", f"file://{secret}"]
    errors = {error({"path": str(path)}) for path in paths}
    errors |= {error({"path": path}) for path in (None, 7, True, [str(secret)], {"path": "a"})}
    errors |= {error(file) for file in (None, 7, str(secret), [], {}, {"url": f"file://{secret}"})}
    assert len(errors) == 1 and str(tmp_path) not in errors.pop()
