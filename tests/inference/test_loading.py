import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save

import transfer
from tests.tiny import CLASSES, tiny_body
from tests.tiny_timm import edit_config, files_of, save_vgg, scores_of, scores_of_timm
from transfer.errors import RunError, TransferError
from transfer.inference.loading import open_classifier
from transfer.publishing.timm_export import export

CONFIG, TENSORS, RECORD = "config.json", "model.safetensors", "run.json"
NOTHING = b"not one byte of it may be downloaded"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A classifier as timm saves it. Shared by all; not to be changed."""
    folder = tmp_path_factory.mktemp("timm") / "saved"
    return save_vgg(folder, "vgg11_bn", labels=["ant", "bee", "cat", "dog", "eel"])


def changed(run: transfer.Run, **change) -> dict[str, bytes]:
    files = files_of(run.path)
    record = json.loads(files[RECORD])
    for name, value in change.items():
        old = record[name]
        record[name] = old | value if isinstance(old, dict) else value
    return files | {RECORD: json.dumps(record).encode()}


def refusal(hub, files: dict[str, bytes], name: str = "ann/broken", **more) -> str:
    """The error for such a repository; no file called NOTHING may have been asked for."""
    hub.add("models", name, files, **more)
    hub.requests.clear()
    with pytest.raises(TransferError) as caught:
        open_classifier(name)
    text = str(caught.value)
    assert repr(name) in text and "\n" not in text and len(text) < 500
    never = [file for file, data in files.items() if data == NOTHING]
    assert not any(request.endswith(file) for request in hub.requests for file in never)
    return text


def test_a_run_loads_from_itself_its_folder_and_the_hub(hub, run):
    wanted = scores_of(transfer.load(run))
    hub.add("models", "ann/head", files_of(run.path))
    for name in (run.path, str(run.path), "ann/head", "hub:hf-hub:ann/head"):
        opened = transfer.load(name)
        assert opened.classes == CLASSES and opened.run.accuracy == run.accuracy
        np.testing.assert_array_equal(scores_of(opened), wanted)


def test_a_run_whose_body_is_on_the_hub_downloads_it(hub, run, tmp_path, monkeypatch):
    body = hub.add("models", "timm/vgg11.tv_in1k", {TENSORS: save(tiny_body().tensors)})
    files = changed(run, body={"weights": "hub", "revision": body.sha})
    hub.add("models", "ann/on-hub", files)
    opened = open_classifier("ann/on-hub")
    np.testing.assert_array_equal(scores_of(opened), scores_of(transfer.load(run)))
    assert TENSORS in {name for name, _ in hub.served}
    assert "sha256 000000000000" in refusal(hub, changed(run, body={"sha256": "0" * 64}))


def test_an_exported_run_scores_as_the_run_and_as_in_timm(hub, run, tmp_path):
    exported = export(run, tmp_path / "full")
    hub.add("models", "ann/full", files_of(exported))
    opened = open_classifier("ann/full")
    assert opened.classes == CLASSES and opened.run is None
    np.testing.assert_allclose(scores_of(opened), scores_of(transfer.load(run)), atol=1e-4)
    np.testing.assert_allclose(scores_of(opened), scores_of_timm("hf-hub:ann/full"), atol=1e-4)
    np.testing.assert_array_equal(scores_of(open_classifier(exported)), scores_of(opened))


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
    dangerous = {"pytorch_model.bin": NOTHING, "modeling.py": NOTHING, "handler.py": NOTHING}
    hub.add("models", "ann/code", files_of(folder) | dangerous)
    hub.add("models", "ann/code2", files_of(run.path) | dangerous)
    hub.served.clear()
    assert len(open_classifier("ann/code").classes) == 5
    open_classifier("ann/code2")
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
        with pytest.raises(RunError) as caught:
            open_classifier(name)
        text = str(caught.value)
        assert "expected a run folder, an exported folder, or a Hub id" in text
        assert str(tmp_path) not in text and len(text) < 300
    with pytest.raises(RunError, match=r"found no run\.json"):
        open_classifier(tmp_path)


def test_without_the_hub_a_run_opens_again(hub, run):
    hub.add("models", "ann/again", files_of(run.path))
    before = scores_of(open_classifier("ann/again"))
    with hub.gone():
        np.testing.assert_array_equal(scores_of(open_classifier("ann/again")), before)


def test_repositories_without_a_usable_model_are_refused_before_tensors_are_downloaded(
    hub, saved, run
):
    bert = json.dumps({"model_type": "bert"}).encode()
    assert "type bert" in refusal(hub, {CONFIG: bert, TENSORS: NOTHING})
    assert "found neither" in refusal(hub, {"README.md": b"# soon", TENSORS: NOTHING})
    pickled = {CONFIG: files_of(saved)[CONFIG], "pytorch_model.bin": NOTHING}
    assert "a pickle, which is never loaded" in refusal(hub, pickled)
    for name, files in (("ann/timm", files_of(saved)), ("ann/run", files_of(run.path))):
        text = refusal(hub, files | {TENSORS: NOTHING}, name, claims={TENSORS: 20 * 10**9})
        assert "20,000 MB" in text


def test_cut_or_incomplete_repositories_are_refused(hub, saved, run):
    for files, name in ((files_of(saved), TENSORS), (files_of(run.path), RECORD)):
        assert "cut or damaged" in refusal(hub, files | {name: files[name][:-9]}, f"ann/{name}")
    for name in ("report.json", TENSORS):
        files = files_of(run.path)
        files.pop(name)
        assert f"expected {name}" in refusal(hub, files, f"ann/without-{name}")


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
    refusal(hub, changed(run, **change))


def test_class_names_of_strangers_are_made_printable(hub, run):
    names = ["<script>alert(1)</script>", "a\x1b[31m\nred", "🦆"]
    hub.add("models", "ann/names", changed(run, classes=names))
    assert open_classifier("ann/names").classes == (names[0], "a [31m red", names[2])
