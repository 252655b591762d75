import json
import shutil

import pytest

from tests.cli.test_main import run
from tests.tiny import draw_classes

OPTIONS = ["--weights", "bundled", "--image-size", 32]


@pytest.fixture
def command(capsys, monkeypatch):
    return lambda *arguments: run(capsys, monkeypatch, *arguments)


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory):
    """Two images of stripes across lie among the spots, one of them in the test split."""
    folder = tmp_path_factory.mktemp("review")
    for split, each in (("train", 12), ("test", 6)):
        draw_classes(folder / split, each=each)
        shutil.move(folder / split / "across" / "1.png", folder / split / "spots" / "moved.png")
    return folder


def test_review_lists_contradicted_labels_and_writes_corrections_that_train_takes(
    mislabelled,
    command,
    tmp_path,
):
    file = tmp_path / "corrections.json"
    arguments = ["review", mislabelled, *OPTIONS, "--write", file, "--take", 1, "--json"]
    status, out, err = command(*arguments)
    found = json.loads(out)
    first, where = found["suspects"][0], "train/spots/moved.png"
    assert status == 0 and (first["where"], first["label"], first["likely"]) == (
        *(where, "spots"),
        "across",
    )
    assert first["split"] in ("train", "validation") and 0 < first["score"] <= 1
    assert found["test_suspects"][0]["where"] == "test/spots/moved.png"
    assert (found["images"], found["estimated_wrong"]) == (36, 1)
    assert json.loads(file.read_text()) == {"corrections": [{"where": where, "label": "across"}]}
    train = ["train", mislabelled, "--out", tmp_path / "run", "--method", "features", *OPTIONS]
    assert command(*train, "--corrections", file)[0] == 0
    status, out, err = command("review", mislabelled, "--run", tmp_path / "run", "--json")
    assert "already cached" in err
    assert where not in [suspect["where"] for suspect in json.loads(out)["suspects"]]


def test_review_in_words(mislabelled, command):
    status, out, _ = command("review", mislabelled, *OPTIONS)
    assert status == 0 and "train/spots/moved.png: spots, more likely across (0." in out
    assert "about 1 of these labels are estimated to be wrong" in out
    assert "test: test/spots/moved.png" in out
    assert command("review", mislabelled, "--take", 3)[0] == 2
