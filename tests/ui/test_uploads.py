import os

import pytest

from transfer.errors import ImageError
from transfer.ui.shared.guard import check_files, uploaded


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where gradio puts what is uploaded."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


def refusal(file) -> str:
    with pytest.raises(ImageError) as caught:
        uploaded(file)
    return str(caught.value)


def test_an_upload_is_found_where_it_lies(folder):
    (folder / "a.png").write_bytes(b"a")
    assert uploaded({"path": str(folder / "a.png")}) == (folder / "a.png").resolve()


def test_everything_else_is_refused_in_the_same_words(folder, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"a")
    (folder / "link").symlink_to(secret)
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    paths = [secret, folder, folder / "link", folder / "loop", folder / "pipe", folder / "gone"]
    paths += [folder / ".." / "secret.png", "secret.png", "", ".", "\0", "\ud800", "a" * 5_000]
    paths += ["http://127.0.0.1:1/a.png", "https://huggingface.co/a.png", f"file://{secret}"]
    told = {refusal({"path": str(path)}) for path in paths}
    told |= {refusal({"path": path}) for path in (None, 7, True, [str(secret)], {"path": "a"})}
    told |= {refusal(file) for file in (None, 7, str(secret), [], {}, {"url": f"file://{secret}"})}
    assert len(told) == 1 and str(tmp_path) not in told.pop()


def test_a_file_is_found_however_deep_it_is_named(folder, tmp_path):
    (folder / "a.png").write_bytes(b"a")
    mine, other = {"path": str(folder / "a.png")}, {"path": str(tmp_path / "b.png")}
    check_files([None, 7, "text", {"a": [mine]}, {"path": None, "url": "data:"}])
    for posted in (other, [other], {"a": other}, {"layers": [mine, {"a": {"b": other}}]}):
        with pytest.raises(ImageError):
            check_files([None, posted])
