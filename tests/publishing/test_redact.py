import json
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.publishing.card.cards import edited
from transfer.publishing.bundle import write_bundle
from transfer.publishing.redact import published_config, published_record, published_report
from transfer.runs.run import Run, read_run

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345"
SECRETS = ("secret-place", "ada-lovelace", TOKEN, "private-photo", "my-passport")
CLASSES = ("A/B tests", "hf_looks_like_a_token", "x<b>y")


@pytest.fixture(scope="module")
def private_run(run, tmp_path_factory) -> Run:
    """A run whose files name a private folder and private images wherever they can."""
    home = f"/home/ada-lovelace/{TOKEN}/secret-place"
    names = [f"{home}/holiday/private-photo-{number}.png" for number in range(3)]
    mistake = {"label": run.classes[0], "predicted": run.classes[1], "score": 0.9}
    result = run.record["result"] | {"run": f"{home}/runs/holiday-run", "weights_reason": home}
    report = {
        "mistakes": [{"name": name} | mistake for name in names],
        "skipped": [{"where": f"{home}/my-passport.jpg", "why": "no picture", "skipped": 1}],
    }
    settings = run.record["settings"] | {
        "corrections": [{"where": "secret-place.png", "label": None, "leave_out": True}],
        "others": home,
    }
    known = {"source": f"{home}/holiday/", "settings": settings, "result": result, "host": home}
    private = edited(run, report=report, **known)
    folder = Path(shutil.copytree(run.path, tmp_path_factory.mktemp("private") / "run"))
    (folder / "run.json").write_text(text := json.dumps(private.record))
    (folder / "report.json").write_text(json.dumps(private.report))
    assert all(word in text + json.dumps(private.report) for word in SECRETS)
    return read_run(folder)


@pytest.mark.parametrize("what", ["head", "full"])
def test_no_byte_of_what_is_published_says_where_it_was_trained(what, private_run, tmp_path):
    bundle = write_bundle(private_run, what, tmp_path / what)
    everything = b"".join(path.read_bytes() for path in bundle.folder.iterdir())
    texts = json.dumps([bundle.run.record, bundle.run.report])
    for word in (*SECRETS, str(Path.home()), tempfile.gettempdir()):
        assert word.encode() not in everything and word not in texts
    assert bundle.run.record["source"] == "holiday"
    assert bundle.run.record["result"]["run"] == "holiday-run"
    assert bundle.run.record["result"]["weights_reason"] == "as trained"


def test_names_of_images_are_kept_only_if_the_source_is_public(private_run):
    private = published_report(private_run, public=False)
    assert {mistake["name"] for mistake in private["mistakes"]} == {""}
    assert private["skipped"] == []
    public = published_report(private_run, public=True)
    names = [mistake["name"] for mistake in public["mistakes"]]
    assert names == [f"private-photo-{number}.png" for number in range(3)]
    assert [problem["where"] for problem in public["skipped"]] == ["my-passport.jpg"]


def test_known_keys_stay_and_others_go(run):
    more = edited(run, report={"user": "ada"}, body={"path": "a"}, environment={"HF_TOKEN": TOKEN})
    record, report = published_record(more), published_report(more, public=True)
    assert record == published_record(run) and report == published_report(run, public=True)
    for name in ("format_version", "classes", "settings", "transform", "revision", "phases"):
        assert record[name] == json.loads(json.dumps(run.record[name]))
    for name in (
        "accuracy",
        "balanced_accuracy",
        "confusion",
        "classes",
        "stages",
        "curves",
        "heads",
    ):
        assert report[name] == json.loads(json.dumps(run.report[name]))


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
        ("C:\\Users\\ada\\photos.zip", "photos.zip"),
        ("/home/ada/photos/", "photos"),
        ("hub:/home/ada/photos", "photos"),
        (None, None),
    ],
)
def test_a_source_is_published_without_its_path(source, published, run):
    assert published_record(edited(run, source=source))["source"] == published


def test_the_body_is_found_by_others_on_the_hub(run):
    body = {"weights": "hub", "sha256": "0" * 64, "revision": "a1"}
    published = published_record(edited(run, body=body))["body"]
    assert published == body | {"repository": "timm/vgg11.tv_in1k"}


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
