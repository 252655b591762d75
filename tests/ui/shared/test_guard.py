import os

import pytest

from transfer.errors import ImageError
from transfer.ui.shared.guard import uploaded


def error(file) -> str:
    with pytest.raises(ImageError) as caught:
        uploaded(file)
    return str(caught.value)


def test_only_uploads_are_accepted_and_all_else_has_the_same_error(gradio_folder, tmp_path):
    gradio_folder.mkdir()
    mine, secret = gradio_folder / "a.png", tmp_path / "secret.png"
    mine.write_bytes(b"a")
    secret.write_bytes(b"a")
    assert uploaded({"path": str(mine)}) == mine.resolve()
    link, loop, pipe = (gradio_folder / name for name in ("link", "loop", "pipe"))
    link.symlink_to(secret)
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    paths = [secret, gradio_folder, link, loop, pipe, gradio_folder / "gone"]
    paths += [
        gradio_folder / ".." / "secret.png",
        "secret.png",
        "",
        ".",
        "\0",
        "\ud800",
        "a" * 5_000,
    ]
    paths += ["http://127.0.0.1:1/a.png", f"file://{secret}"]
    errors = {error({"path": str(path)}) for path in paths}
    errors |= {error({"path": path}) for path in (None, 7, True, [str(secret)], {"path": "a"})}
    errors |= {error(file) for file in (None, 7, str(secret), [], {}, {"url": f"file://{secret}"})}
    assert len(errors) == 1 and str(tmp_path) not in errors.pop()
