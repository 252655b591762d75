import json
import shutil

import numpy as np
import pytest
from safetensors.torch import save

import transfer
from tests.inference.conftest import refused
from tests.tiny import CLASSES, tiny_body
from tests.tiny_timm import edit_config, files_of, scores_of, scores_of_timm
from transfer.errors import RunError
from transfer.inference.loading import open_classifier
from transfer.publishing.export import export

CONFIG, TENSORS, RECORD = "config.json", "model.safetensors", "run.json"
NOTHING = b"not one byte of it may be downloaded"


def changed(run: transfer.Run, **change) -> dict[str, bytes]:
    files = files_of(run.path)
    record = json.loads(files[RECORD])
    for name, value in change.items():
        old = record[name]
        record[name] = old | value if isinstance(old, dict) else value
    return files | {RECORD: json.dumps(record).encode()}


def refused_from_hub(hub, words: str, files: dict[str, bytes], name: str = "ann/broken"):
    """Opening such a repository is refused; no file called NOTHING may have been asked for."""
    hub.add("models", name, files)
    hub.requests.clear()
    with refused(words):
        open_classifier(name)
    never = [file for file, data in files.items() if data == NOTHING]
    assert not any(request.endswith(file) for request in hub.requests for file in never)


def test_a_run_loads_from_itself_its_folder_and_the_hub(hub, run):
    wanted = scores_of(transfer.load(run))
    hub.add("models", "ann/head", files_of(run.path))
    for name in (run.path, str(run.path), "ann/head", "hub:hf-hub:ann/head"):
        opened = transfer.load(name)
        assert opened.classes == CLASSES and opened.run.accuracy == run.accuracy
        np.testing.assert_array_equal(scores_of(opened), wanted)
    with hub.gone():
        np.testing.assert_array_equal(scores_of(open_classifier("ann/head")), wanted)


def test_a_run_whose_body_is_on_the_hub_downloads_it(hub, run, tmp_path, monkeypatch):
    body = hub.add("models", "timm/vgg11.tv_in1k", {TENSORS: save(tiny_body().tensors)})
    hub.add("models", "ann/on-hub", changed(run, body={"weights": "hub", "revision": body.sha}))
    opened = open_classifier("ann/on-hub")
    np.testing.assert_array_equal(scores_of(opened), scores_of(transfer.load(run)))
    assert TENSORS in {name for name, _ in hub.served}
    refused_from_hub(hub, "sha256 000000000000", changed(run, body={"sha256": "0" * 64}))


def test_an_exported_run_scores_as_the_run(run, tmp_path):
    opened = open_classifier(export(run, tmp_path / "full"))
    assert opened.classes == CLASSES and opened.run is None
    np.testing.assert_allclose(scores_of(opened), scores_of(transfer.load(run)), atol=1e-4)


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_a_classifier_of_timm_scores_as_in_timm(hub, saved, tmp_path, crop_mode):
    folder = shutil.copytree(saved, tmp_path / "copy")
    change = {"crop_mode": crop_mode, "crop_pct": 0.8, "interpolation": "bicubic"}
    edit_config(folder, pretrained_cfg=change | {"input_size": [3, 48, 64]})
    hub.add("models", f"ann/{crop_mode}", files_of(folder))
    opened = open_classifier(f"ann/{crop_mode}")
    assert opened.classes == ("ant", "bee", "cat", "dog", "eel")
    wanted = scores_of_timm(f"hf-hub:ann/{crop_mode}")
    np.testing.assert_allclose(scores_of(opened), wanted, atol=1e-4)
    assert wanted.max() > 0.4  # or all would be alike


def test_code_and_pickles_are_not_even_downloaded(hub, saved, run, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "copy")
    edit_config(folder, auto_map={"AutoModel": "modeling.Evil"}, pretrained_cfg={"url": "evil"})
    dangerous = dict.fromkeys(("pytorch_model.bin", "modeling.py", "handler.py"), b"")
    hub.served.clear()
    for name, files in (("ann/code", files_of(folder)), ("ann/code2", files_of(run.path))):
        hub.add("models", name, files | dangerous)
        assert open_classifier(name)
    downloaded = {name for name, _ in hub.served}
    assert downloaded & set(dangerous) == set() and TENSORS in downloaded


def test_a_local_folder_wins_unless_the_hub_is_named(hub, saved, run, tmp_path, monkeypatch):
    hub.add("models", "ann/both", files_of(saved))
    shutil.copytree(run.path, tmp_path / "ann" / "both")
    monkeypatch.chdir(tmp_path)
    assert open_classifier("ann/both").classes == CLASSES
    for name in ("hub:ann/both", "hf-hub:ann/both@main", f"{hub.endpoint}/ann/both"):
        assert len(open_classifier(name).classes) == 5


def test_a_name_that_is_neither_here_nor_on_the_hub_is_refused(hub, tmp_path):
    with pytest.raises(RunError, match=r"no folder is called 'runs/pets' here, and .* the Hub"):
        open_classifier("runs/pets")
    for name in ("pets", str(tmp_path / "pets"), "", "\0", "~nobody/pets", "x" * 5000):
        with refused("expected a run folder"):
            open_classifier(name)
    with pytest.raises(RunError, match=r"found no run\.json"):
        open_classifier(tmp_path)


def test_what_is_no_usable_model_is_refused_before_tensors_are_downloaded(hub, saved, run):
    bert, runs = json.dumps({"model_type": "bert"}).encode(), files_of(run.path)
    refused_from_hub(hub, "type bert", {CONFIG: bert, TENSORS: NOTHING})
    refused_from_hub(hub, "found neither", {"README.md": b"# soon", TENSORS: NOTHING})
    pickled = {CONFIG: files_of(saved)[CONFIG], "pytorch_model.bin": NOTHING}
    refused_from_hub(hub, "a pickle, which is never loaded", pickled)
    refused_from_hub(hub, "cut or damaged", runs | {RECORD: runs[RECORD][:-9], TENSORS: NOTHING})
    refused_from_hub(hub, "expected report.json", {RECORD: runs[RECORD], TENSORS: NOTHING})


@pytest.mark.parametrize(
    "change",
    [
        {"body": {"weights": "/etc/passwd"}},
        {"body": {"weights": "hub", "revision": "../../../../own"}},
        {"transform": {"image_size": 100_000}},
        {"settings": {"head": {"pooling": "flatten", "hidden": [10**9], "dropout": 0.5}}},
        {"classes": ["a"] * 100_000},
    ],
    ids=str,
)
def test_a_run_that_no_training_made_is_refused(hub, run, change):
    refused_from_hub(hub, "'ann/broken'", changed(run, **change))


def test_class_names_of_strangers_are_made_printable(hub, run):
    names = ["<script>alert(1)</script>", "a\x1b[31m\nred", "🦆"]
    hub.add("models", "ann/names", changed(run, classes=names))
    assert open_classifier("ann/names").classes == (names[0], "a [31m red", names[2])
