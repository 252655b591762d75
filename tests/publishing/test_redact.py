import json
import tempfile
from pathlib import Path

import pytest

from tests.publishing.card.cards import edited
from tests.tiny import TINY, drained, picture
from transfer.publishing.bundle import write_bundle
from transfer.publishing.redact import published_config, published_record, published_report
from transfer.runs.run import Run
from transfer.training.recipe import training_events

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345"
SECRETS = ("secret-place", "ada-lovelace", TOKEN, "private-photo", "my-passport")
CLASSES = ("A/B tests", "hf_looks_like_a_token", "x<b>y")


@pytest.fixture(scope="module")
def private_run(tmp_path_factory) -> Run:
    """Trained on photos whose path and file names are private; its files mention them."""
    folder = tmp_path_factory.mktemp("ada-lovelace") / TOKEN / "secret-place" / "holiday"
    for name in ("sea", "shore"):
        (folder / name).mkdir(parents=True)
        for number in range(15):  # the same kind of image in both, so that mistakes are made
            picture(0, number).save(folder / name / f"private-photo-{name}-{number}.png")
    (folder / "sea" / "my-passport.jpg").write_bytes(b"no picture")
    out = folder.parent / "runs" / "holiday-run"
    options = TINY | {"unfreeze": "none", "head": "avg"}
    _, run = drained(training_events(str(folder), out=out, **options))
    text = (run.path / "run.json").read_text() + (run.path / "report.json").read_text()
    assert all(word in text for word in SECRETS), "or the tests below prove nothing"
    return run


@pytest.mark.parametrize("what", ["head", "full"])
def test_no_byte_of_what_is_published_says_where_it_was_trained(what, private_run, tmp_path):
    bundle = write_bundle(private_run, what, tmp_path / what)
    everything = b"".join(path.read_bytes() for path in bundle.folder.iterdir())
    texts = "".join(path.read_text() for path in bundle.folder.glob("*.json"))
    texts += json.dumps([bundle.run.record, bundle.run.report])
    assert not [word for word in SECRETS if word.encode() in everything or word in texts]
    assert str(Path.home()) not in texts and str(Path(tempfile.gettempdir())) not in texts
    assert bundle.run.record["source"] == "holiday"
    assert bundle.run.record["result"]["run"] == "holiday-run"


def test_names_of_images_are_kept_only_if_the_source_is_public(private_run):
    own = private_run.report["mistakes"]
    private = published_report(private_run, public=False)
    assert private["mistakes"] == [mistake | {"name": ""} for mistake in own]
    assert private["skipped"] == []
    public = published_report(private_run, public=True)
    names = [mistake["name"] for mistake in public["mistakes"]]
    assert names and names == [Path(mistake["name"]).name for mistake in own]
    assert [problem["where"] for problem in public["skipped"]] == ["my-passport.jpg"]


def test_results_and_settings_stay(run):
    record, report = published_record(run), published_report(run, public=False)
    for name in ("format_version", "classes", "settings", "transform", "revision", "phases"):
        assert record[name] == json.loads(json.dumps(run.record[name]))
    for name in ("accuracy", "interval", "confusion", "classes", "stages", "curves", "heads"):
        assert report[name] == json.loads(json.dumps(run.report[name]))


def test_only_known_keys_pass(run):
    more = edited(
        run,
        report={"user": "ada"},
        body={"path": "own.safetensors"},
        host="somewhere",
        environment={"HF_TOKEN": TOKEN},
    )
    assert published_record(more) == published_record(run)
    assert published_report(more, public=True) == published_report(run, public=True)


def test_class_names_are_data_whatever_they_contain(run):
    rows = [{"label": name, "support": 1} for name in CLASSES]
    mistakes = [{"name": "a/b.png", "label": CLASSES[0], "predicted": CLASSES[1], "score": 0.5}]
    named = edited(run, report={"classes": rows, "mistakes": mistakes}, classes=list(CLASSES))
    assert published_record(named)["classes"] == list(CLASSES)
    report = published_report(named, public=True)
    assert report["classes"] == rows and report["mistakes"] == [mistakes[0] | {"name": "b.png"}]


@pytest.mark.parametrize(
    ("source", "published"),
    [
        ("digits", "digits"),
        ("hub:ada/flowers (v 2)", "hub:ada/flowers (v 2)"),
        ("hub:mnist", "hub:mnist"),
        ("/home/ada/photos.zip", "photos.zip"),
        ("C:\\Users\\ada\\photos.zip", "photos.zip"),
        ("/home/ada/photos/", "photos"),
        ("hub:/home/ada/photos", "photos"),
        (None, None),
    ],
)
def test_a_source_is_published_without_its_path(source, published, run):
    assert published_record(edited(run, source=source))["source"] == published


def test_the_body_is_named_without_the_machines_reasons(run):
    body = {"weights": "hub", "sha256": "0" * 64, "revision": "a1"}
    reason = "ImageNet's body is not available (the Hub at http://proxy.home:8080 does not answer)"
    record = edited(run, body=body)
    record.record["result"]["weights_reason"] = reason
    record = published_record(record)
    assert record["body"] == body | {"repository": "timm/vgg11.tv_in1k"}
    assert record["result"]["weights_reason"] == "as trained"


def test_a_config_keeps_its_labels_and_loses_what_another_program_wrote():
    config = {
        "architecture": "vgg11",
        "label_names": ["A/B", "C\\D"],
        "_name_or_path": "/home/ada/vgg",
        "model_args": {"mlp_ratio": 0.5, "cache_dir": "/home/ada"},
        "pretrained_cfg": {"input_size": [3, 32, 32], "file": "/home/ada/x", "crop_mode": "squash"},
    }
    assert published_config(config) == {
        "architecture": "vgg11",
        "label_names": ["A/B", "C\\D"],
        "model_args": {"mlp_ratio": 0.5},
        "pretrained_cfg": {"input_size": [3, 32, 32], "crop_mode": "squash"},
    }
