import json

import pytest

from tests.cli.test_main import run
from tests.tiny import draw_classes

OPTIONS = ["--weights", "bundled", "--image-size", 32]


@pytest.fixture
def command(capsys, monkeypatch):
    return lambda *arguments: run(capsys, monkeypatch, *arguments)


def test_the_curve_as_json_and_in_words(command, tmp_path):
    source = draw_classes(tmp_path / "photos", each=30)
    status, out, _ = command("learning-curve", source, *OPTIONS, "--json")
    found = json.loads(out)
    assert status == 0 and set(found["points"][0]) == {"images", "accuracy", "low", "high"}
    assert found["points"][-1]["images"] == found["images"] == 72
    assert found["doubled"]["low"] <= found["doubled"]["gain"] <= found["doubled"]["high"]
    assert {row["label"] for row in found["classes"]} == {"across", "down", "spots"}
    status, out, err = command("learning-curve", source, *OPTIONS)
    assert status == 0 and "already cached" in err
    assert "72 images: accuracy" in out and "with twice as many images (144): +" in out


def test_too_few_images_are_an_error(command, tmp_path):
    source = draw_classes(tmp_path / "photos", each=5)
    status, out, err = command("learning-curve", source, *OPTIONS)
    assert (status, out) == (1, "") and "at least 6 of each class" in err.splitlines()[-1]
