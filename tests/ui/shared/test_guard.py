import asyncio
import os

import gradio as gr
import orjson
import pytest

from transfer.errors import ImageError, RunError
from transfer.ui.shared.guard import SafeBlocks, uploaded
from transfer.ui.shared.session import as_message


def error(file) -> str:
    with pytest.raises(ImageError) as caught:
        uploaded(file)
    return str(caught.value)


def test_names_that_are_not_utf_8_can_be_sent():
    def classify() -> list[dict]:
        return [{"label": "cat \ud83d", "caf\udce9": [0.5, None, ("\udce9",)]}]

    with SafeBlocks() as page:
        gr.api(classify, api_name="classify")
    (function,) = page.fns.values()
    (sent,) = asyncio.run(page.postprocess_data(function, classify(), None))
    assert orjson.loads(orjson.dumps(sent)) == [
        {"label": r"cat \ud83d", r"caf\udce9": [0.5, None, [r"\udce9"]]}
    ]
    with pytest.raises(gr.Error) as caught, as_message():
        raise RunError("found none in 'caf\udce9'")
    assert r"caf\udce9" in caught.value.message


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
