import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save, save_file

import transfer
from tests.hub_server import FRIEND, STRANGER
from tests.publishing.runs import finished, scores_of_run
from tests.publishing.runs import scores_of_transformers as transformers_scores
from tests.tiny import CLASSES, draw_classes, tiny_body
from tests.tiny_timm import edit_config, files_of, save_vgg, scores_of, scores_of_timm
from transfer.errors import RunError, TransferError
from transfer.inference.loading import open_classifier
from transfer.publishing.bundle import write_bundle
from transfer.publishing.timm_export import export

CONFIG, TENSORS, RECORD = "config.json", "model.safetensors", "run.json"
ATOL = 1e-4
NOTHING = b"not one byte of it may be asked for"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> transfer.Run:
    """A run as a training leaves it. Shared by all; not to be changed."""
    return finished(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory) -> Path:
    return export(made, tmp_path_factory.mktemp("exported") / "full")


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A classifier as timm saves it. Shared by all; not to be changed."""
    folder = tmp_path_factory.mktemp("timm") / "saved"
    return save_vgg(folder, "vgg11_bn", labels=["ant", "bee", "cat", "dog", "eel"])


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy that a test may break."""
    return shutil.copytree(saved, tmp_path / "copy")


@pytest.fixture
def transformers():
    return pytest.importorskip("transformers", reason="requirements-dev.txt names transformers")


def refusal(hub, files: dict[str, bytes], name: str = "ann/broken", **more) -> str:
    """What is said of such a repository; no file called NOTHING may have been asked for."""
    hub.add("models", name, files, **more)
    hub.requests.clear()
    with pytest.raises(TransferError) as caught:
        open_classifier(name)
    text = str(caught.value)
    assert repr(name) in text and "\n" not in text and len(text) < 500
    in_vain = [file for file, data in files.items() if data == NOTHING]
    assert not any(asked.endswith(file) for asked in hub.requests for file in in_vain)
    return text


def test_a_run_on_the_hub_is_the_run(hub, made):
    hub.add("models", "ann/head", files_of(made.path))
    opened = transfer.load("ann/head")
    assert opened.classes == CLASSES and opened.run.accuracy == made.accuracy
    np.testing.assert_array_equal(scores_of(opened), scores_of_run(made))


@pytest.mark.parametrize("what", ["head", "full"])
def test_what_is_published_opens_again(hub, made, tmp_path, what):
    hub.add(
        "models", f"ann/bundle-{what}", files_of(write_bundle(made, what, tmp_path / "b").folder)
    )
    opened = open_classifier(f"ann/bundle-{what}")
    np.testing.assert_allclose(scores_of(opened), scores_of_run(made), atol=1e-3)


def test_a_run_on_a_body_of_the_hub_brings_it_along(hub, tmp_path, monkeypatch):
    hub.add("models", "timm/vgg11.tv_in1k", {TENSORS: save(tiny_body(7).tensors)})
    run = finished(tmp_path / "run", weights="hub")
    hub.add("models", "ann/on-hub", files_of(run.path))
    monkeypatch.setenv("TRANSFER_CACHE", str(tmp_path / "another machine"))
    np.testing.assert_array_equal(scores_of(open_classifier("ann/on-hub")), scores_of_run(run))
    assert run.record["body"]["weights"] == "hub"


def test_a_run_folder_and_a_run_are_still_loaded(made):
    for given in (made.path, str(made.path), made):
        np.testing.assert_array_equal(scores_of(transfer.load(given)), scores_of_run(made))


def test_a_whole_repository_scores_as_the_run_and_as_timm(hub, made, exported):
    hub.add("models", "ann/full", files_of(exported))
    opened = open_classifier("ann/full")
    assert opened.classes == CLASSES and opened.run is None
    np.testing.assert_allclose(scores_of(opened), scores_of_run(made), atol=ATOL)
    np.testing.assert_allclose(scores_of(opened), scores_of_timm("hf-hub:ann/full"), atol=ATOL)
    np.testing.assert_allclose(scores_of(open_classifier(exported)), scores_of(opened), atol=0)


def test_a_whole_repository_scores_as_transformers(hub, exported, transformers, tmp_path):
    hub.add("models", "ann/pipeline", files_of(exported))
    found = scores_of(open_classifier("ann/pipeline"))
    theirs = transformers_scores(transformers, "ann/pipeline", CLASSES, tmp_path)
    np.testing.assert_allclose(found, theirs, atol=ATOL)


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_a_classifier_of_timm_scores_as_in_timm(hub, folder, crop_mode):
    change = {"crop_mode": crop_mode, "crop_pct": 0.8, "interpolation": "bicubic"}
    edit_config(folder, pretrained_cfg=change | {"input_size": [3, 48, 64]})
    hub.add("models", f"ann/{crop_mode}", files_of(folder))
    opened = open_classifier(f"ann/{crop_mode}")
    assert opened.classes == ("ant", "bee", "cat", "dog", "eel")
    wanted = scores_of_timm(f"hf-hub:ann/{crop_mode}")
    np.testing.assert_allclose(scores_of(opened), wanted, atol=ATOL)
    assert wanted.max() > 0.4  # or all would be alike


def test_imagenet_s_thousand_classes_have_transformers_names(hub, transformers, tmp_path):
    folder = save_vgg(tmp_path / "imagenet", classes=1000)
    hub.add("models", "ann/imagenet", files_of(folder))
    opened = open_classifier("ann/imagenet")
    names = transformers.AutoConfig.from_pretrained(str(folder)).id2label
    differ = [i for i in range(1000) if opened.classes[i] != names[i]]
    assert [opened.classes[i] for i in differ] == [f"{names[i]} ({i})" for i in differ]
    assert differ == [134, 517] and len(set(opened.classes)) == 1000


def test_only_safe_files_are_fetched(hub, saved, made):
    dangerous = {"pytorch_model.bin": NOTHING, "modeling.py": NOTHING, "handler.py": NOTHING}
    hub.add("models", "ann/code", files_of(saved) | dangerous)
    hub.add("models", "ann/code2", files_of(made.path) | dangerous)
    open_classifier("ann/code")
    open_classifier("ann/code2")
    asked = {name for name, _ in hub.served}
    assert asked & set(dangerous) == set() and TENSORS in asked


def test_code_that_config_names_is_not_run(hub, folder):
    edit_config(folder, auto_map={"AutoModel": "modeling.Evil"}, pretrained_cfg={"url": "evil"})
    config = json.loads((folder / CONFIG).read_text())
    config |= {"custom_load": True, "pretrained_cfg": config["pretrained_cfg"] | {"file": "evil"}}
    (folder / CONFIG).write_text(json.dumps(config))
    hub.add("models", "ann/evil", files_of(folder) | {"modeling.py": b"raise SystemExit"})
    assert len(open_classifier("ann/evil").classes) == 5


@pytest.mark.parametrize("prefix", ["hub:", "hf-hub:", "hub:hf-hub:"])
def test_a_local_folder_wins_unless_the_hub_is_meant(
    hub, saved, made, tmp_path, monkeypatch, prefix
):
    hub.add("models", "ann/both", files_of(saved))
    shutil.copytree(made.path, tmp_path / "ann" / "both")
    monkeypatch.chdir(tmp_path)
    assert open_classifier("ann/both").classes == CLASSES
    assert len(open_classifier(f"{prefix}ann/both").classes) == 5


def test_a_link_and_a_revision_lead_to_it(hub, saved):
    added = hub.add("models", "ann/linked", files_of(saved))
    for name in (
        f"{hub.endpoint}/ann/linked",
        f"{hub.endpoint}/ann/linked/tree/{added.sha}",
        f"hub:{hub.endpoint}/ann/linked",
        f"ann/linked@{added.sha}",
        "hf-hub:ann/linked@main",
    ):
        assert len(open_classifier(name).classes) == 5
    with pytest.raises(RunError, match="'ann/linked@v9'"):
        open_classifier("ann/linked@v9")


def test_a_name_that_is_neither_here_nor_on_the_hub_is_told(hub, tmp_path):
    with pytest.raises(RunError, match=r"no folder is called 'runs/pets' here, and .* the Hub"):
        open_classifier("runs/pets")
    for name in ("pets", str(tmp_path / "pets"), "", "\0", "~nobody/pets", "x" * 5000):
        with pytest.raises(RunError) as caught:
            open_classifier(name)
        text = str(caught.value)
        assert "expected a run folder, an exported folder, or a Hub id" in text
        assert str(tmp_path) not in text and len(text) < 300
    assert not any("pets" in asked for asked in hub.requests if "runs" not in asked)


def test_a_folder_of_neither_kind_is_told(tmp_path):
    with pytest.raises(RunError, match=r"found no run\.json"):
        open_classifier(tmp_path)


@pytest.mark.parametrize("kind", ["run", "timm"])
def test_without_the_hub_what_was_opened_before_opens_again(hub, made, saved, kind):
    hub.add("models", f"ann/kept-{kind}", files_of(made.path if kind == "run" else saved))
    before = scores_of(open_classifier(f"ann/kept-{kind}"))
    with hub.gone():
        np.testing.assert_array_equal(scores_of(open_classifier(f"ann/kept-{kind}")), before)
        with pytest.raises(RunError, match="does not answer"):
            open_classifier("ann/never-opened")


def test_a_private_one_opens_with_its_token_alone(hub, saved):
    hub.add("models", "ann/secret", files_of(saved), private=True)
    assert len(open_classifier("ann/secret", FRIEND).classes) == 5
    for token in (None, False, STRANGER):
        with pytest.raises(RunError, match="found none called 'ann/secret'"):
            open_classifier("ann/secret", token)


def test_a_gated_one_is_told(hub, saved):
    assert "terms to be accepted" in refusal(hub, files_of(saved), gated="files")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"architectures": ["BertModel"], "model_type": "bert"}, "type 'bert'"),
        ({"architecture": "resnet50", "num_classes": 3}, "expected a VGG of timm"),
        ({"architecture": "vgg16", "num_classes": 3, "label_names": ["a"]}, "3 classes"),
        ({"architecture": "vgg16", "model_args": {"act_layer": "os.system"}}, "'act_layer'"),
    ],
    ids=["bert", "resnet", "labels", "arguments"],
)
def test_what_is_no_vgg_is_refused_before_its_tensors_come(hub, config, words):
    assert words in refusal(hub, {CONFIG: json.dumps(config).encode(), TENSORS: NOTHING})


def test_a_repository_without_a_model_is_told(hub):
    assert "found neither" in refusal(hub, {"README.md": b"# soon", TENSORS: NOTHING})
    assert f"expected {TENSORS}" in refusal(hub, {"README.md": b"# soon"}, "ann/card")


def test_a_repository_of_pickle_is_never_read(hub, saved):
    files = files_of(saved) | {"pytorch_model.bin": NOTHING}
    files.pop(TENSORS)
    text = refusal(hub, files)
    assert "holds only pickle, which is never run" in text and "pytorch_model.bin" in text
    files.pop(CONFIG)
    assert "holds only pickle" in refusal(hub, files, "ann/pickle")


def test_a_cut_file_is_told(hub, saved, made):
    files = files_of(saved)
    assert "cut or damaged" in refusal(hub, files | {TENSORS: files[TENSORS][:-9]})
    files = files_of(made.path)
    assert "cut or damaged" in refusal(hub, files | {TENSORS: files[TENSORS][:-9]}, "ann/cut-run")
    assert "cut or damaged" in refusal(hub, files | {RECORD: files[RECORD][:-9]}, "ann/cut-record")
    assert "cut or damaged" in refusal(hub, files | {RECORD: b"[" * 100_000}, "ann/deep")


def test_a_run_without_its_report_or_tensors_is_told(hub, made):
    for name in ("report.json", TENSORS):
        files = files_of(made.path)
        files.pop(name)
        assert f"expected {name}" in refusal(hub, files, f"ann/without-{name}")


def test_a_config_that_lies_about_its_classes_is_told(hub, folder):
    edit_config(folder, label_names=None, num_classes=7, model_args={"num_classes": 7})
    assert "expected 7 classes" in refusal(hub, files_of(folder))


def changed(run: transfer.Run, **change) -> dict[str, bytes]:
    files = files_of(run.path)
    record = json.loads(files[RECORD])
    for name, value in change.items():
        old = record[name]
        record[name] = old | value if isinstance(old, dict) else value
    return files | {RECORD: json.dumps(record).encode()}


def test_a_body_of_another_hash_is_told(hub, made):
    text = refusal(hub, changed(made, body={"sha256": "0" * 64}))
    assert "sha256 000000000000" in text and "found" in text


@pytest.mark.parametrize(
    "change",
    [
        {"body": {"weights": "/etc/passwd"}},
        {"body": {"weights": "~/own.pth"}},
        {"body": {"sha256": "../../../own"}},
        {"body": {"weights": "hub", "revision": "../../../../own"}},
        {"transform": {"image_size": 100_000}},
        {"transform": {"image_size": 1e400}},
        {"settings": {"architecture": "resnet50"}},
        {"settings": {"head": {"pooling": "flatten", "hidden": [4096], "dropout": 0.5}}},
        {"settings": {"head": {"pooling": "flatten", "hidden": [10**9], "dropout": 0.5}}},
        {"classes": ["a"] * 100_000},
        {"classes": [1, 2, 3]},
        {"classes": []},
    ],
    ids=str,
)
def test_a_run_that_asks_for_what_no_training_made_is_refused(hub, made, change):
    refusal(hub, changed(made, **change))


def test_what_is_absurdly_large_is_not_downloaded(hub, saved, made):
    for name, files in (("ann/timm", files_of(saved)), ("ann/run", files_of(made.path))):
        text = refusal(hub, files | {TENSORS: NOTHING}, name, claims={TENSORS: 20 * 10**9})
        assert "20,000 MB" in text
    claims = {RECORD: 10**9}
    assert "1,000 MB" in refusal(hub, files | {RECORD: NOTHING}, "ann/record", claims=claims)


def with_classes(folder: Path, labels: list[str]) -> Path:
    tensors = load_file(folder / TENSORS)
    count = len(labels)
    tensors["head.fc.weight"] = torch.randn(count, 4096)
    tensors["head.fc.bias"] = torch.randn(count)
    save_file(tensors, folder / TENSORS)
    edit_config(folder, label_names=labels, num_classes=count, model_args={"num_classes": count})
    return folder


def test_ten_thousand_classes_work(hub, tmp_path):
    classes = tuple(f"kind {i}" for i in range(10_000))
    hub.add("models", "ann/many", files_of(finished(tmp_path / "many", classes=classes).path))
    opened = open_classifier("ann/many")
    assert opened.classes == classes
    found = opened.classify(np.zeros((9, 9, 3), np.uint8), top=10_000)
    assert {prediction.label for prediction in found} == set(classes)


def test_names_come_as_they_are_but_for_what_harms_a_terminal(hub, folder, made):
    names = ["<script>alert(1)</script>", "a\x1b[31m\nred", "🦆"]
    plain = (names[0], "a [31m red", names[2])
    hub.add("models", "ann/html", files_of(with_classes(folder, names)))
    hub.add("models", "ann/html-run", changed(made, classes=names))
    assert open_classifier("ann/html").classes == plain
    assert open_classifier("ann/html-run").classes == plain


def test_the_cli_takes_a_repository(hub, saved, tmp_path, capsys, monkeypatch):
    from tests.cli.test_main import run

    hub.add("models", "ann/cli", files_of(saved))
    source = draw_classes(tmp_path / "source", each=6, classes=("ant", "bee"))
    photo = source / "ant" / "1.png"
    status, out, _ = run(capsys, monkeypatch, "classify", "ann/cli", photo, "--json", "--top", 2)
    (found,) = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and found["path"] == str(photo) and len(found["predictions"]) == 2
    status, out, _ = run(capsys, monkeypatch, "evaluate", "ann/cli", source, "--json")
    report = json.loads(out)
    assert status == 0 and 0 <= report["accuracy"] <= 1 and report["images"] == 2
    status, out, err = run(capsys, monkeypatch, "classify", "ann/gone", photo)
    assert (status, out, err.count("\n")) == (1, "", 1) and err.startswith("error: no folder is")
