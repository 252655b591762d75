import json
import tempfile
from pathlib import Path

import pytest

from tests.tiny import TINY, drained, picture, tiny_body
from transfer.publishing.bundle import write_bundle
from transfer.publishing.redact import (
    bare,
    published_config,
    published_record,
    published_report,
)
from transfer.runs.run import Run
from transfer.training.recipe import training_events

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345"
TELLTALES = ("secret-place", "ada-lovelace", TOKEN, "private-photo", "my-passport")
CLASSES = ("A/B tests", "hf_looks_like_a_token", "x<b>y")


@pytest.fixture(scope="module")
def secret(tmp_path_factory) -> Path:
    """A folder of photos whose path and file names are nobody's business."""
    folder = tmp_path_factory.mktemp("ada-lovelace") / TOKEN / "secret-place" / "holiday"
    for name in ("sea", "shore"):
        (folder / name).mkdir(parents=True)
        for number in range(15):  # the same kind of picture in both, so that mistakes are made
            picture(0, number).save(folder / name / f"private-photo-{name}-{number}.png")
    (folder / "sea" / "my-passport.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def private_run(secret) -> Run:
    """Trained in that place; its files tell of it."""
    out = secret.parent / "runs" / "holiday-run"
    options = TINY | {"unfreeze": "none", "head": "avg"}
    _, run = drained(training_events(str(secret), out=out, **options))
    told = (run.path / "run.json").read_text() + (run.path / "report.json").read_text()
    assert all(word in told for word in TELLTALES), "or the tests below prove nothing"
    return run


def telling(folder: Path) -> list[str]:
    """The telltales in any byte of its files, and what is too short to look for in tensors."""
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    texts = "".join(path.read_text() for path in folder.glob("*.json"))
    short = (str(Path.home()), str(Path(tempfile.gettempdir())))
    long = [word for word in TELLTALES if word.encode() in everything]
    return long + [word for word in short if word in texts]


@pytest.mark.parametrize("what", ["head", "full"])
def test_no_byte_of_what_is_published_tells_where_it_was_trained(what, private_run, tmp_path):
    bundle = write_bundle(private_run, what, tmp_path / what)
    assert telling(bundle.folder) == []
    told = json.dumps([bundle.run.record, bundle.run.report])
    assert not [word for word in TELLTALES if word in told]
    assert bundle.run.record["source"] == "holiday"
    assert bundle.run.record["result"]["run"] == "holiday-run"


def test_a_weights_file_is_named_without_its_place(secret, tmp_path):
    from safetensors.torch import save_file

    save_file(tiny_body().tensors, secret.parent / "own body.safetensors")
    weights = {"weights": str(secret.parent / "own body.safetensors"), "unfreeze": "none"}
    options = TINY | weights | {"head": "avg", "head_epochs": 1}
    _, run = drained(training_events(str(secret), out=tmp_path / "run", **options))
    assert "secret-place" in (run.path / "run.json").read_text()
    bundle = write_bundle(run, "full", tmp_path / "out")
    assert bundle.run.settings.weights == "own body.safetensors"
    assert bundle.run.record["body"]["weights"] == "file:own body.safetensors"
    assert telling(bundle.folder) == []
    assert not [word for word in TELLTALES if word in json.dumps(bundle.run.record)]


def test_mistakes_lose_their_file_names_and_nothing_else(private_run):
    private = published_report(private_run, public=False)
    assert private["mistakes"] and private["skipped"] == []
    for mistake, own in zip(private["mistakes"], private_run.report["mistakes"], strict=True):
        assert mistake == own | {"name": ""}


def test_names_are_kept_where_the_source_is_public_without_their_folders(private_run):
    public = published_report(private_run, public=True)
    names = [mistake["name"] for mistake in public["mistakes"]]
    own = [Path(mistake["name"]).name for mistake in private_run.report["mistakes"]]
    assert names == own and all(name.endswith(".png") for name in names)
    assert [problem["where"] for problem in public["skipped"]] == ["my-passport.jpg"]


def test_what_the_run_says_else_stays_as_it_is(run):
    record = published_record(run)
    for name in ("format_version", "classes", "settings", "transform", "revision", "phases"):
        assert record[name] == json.loads(json.dumps(run.record[name]))
    assert record["body"] == run.record["body"] | {"repository": None}
    report = published_report(run, public=False)
    for name in ("accuracy", "interval", "confusion", "classes", "stages", "curves", "heads"):
        assert report[name] == json.loads(json.dumps(run.report[name]))


def made_up(run: Run, record: dict | None = None, report: dict | None = None) -> Run:
    return Run(
        path=run.path, record=run.record | (record or {}), report=run.report | (report or {})
    )


def test_the_run_itself_is_not_changed(run):
    before = json.dumps([run.record, run.report])
    record, report = published_record(run), published_report(run, public=False)
    record["settings"]["seed"] = report["confusion"][0][0] = "changed"
    assert json.dumps([run.record, run.report]) == before


def test_only_what_is_known_by_name_passes(run):
    told = made_up(run, {"host": "somewhere", "environment": {"HF_TOKEN": TOKEN}}, {"user": "ada"})
    told.record["body"] = told.record["body"] | {"path": "own.safetensors"}
    assert published_record(told) == published_record(run)
    assert published_report(told, public=True) == published_report(run, public=True)


def test_class_names_are_data_whatever_stands_in_them(run):
    rows = [{"label": name, "support": 1} for name in CLASSES]
    mistakes = [{"name": "a/b.png", "label": CLASSES[0], "predicted": CLASSES[1], "score": 0.5}]
    told = made_up(run, {"classes": list(CLASSES)}, {"classes": rows, "mistakes": mistakes})
    assert published_record(told)["classes"] == list(CLASSES)
    assert published_report(told, public=True)["classes"] == rows
    assert published_report(told, public=True)["mistakes"] == [mistakes[0] | {"name": "b.png"}]


@pytest.mark.parametrize(
    ("source", "published"),
    [
        ("digits", "digits"),
        ("hub:ada/flowers", "hub:ada/flowers"),
        ("hub:ada/flowers (v 2)", "hub:ada/flowers (v 2)"),
        ("hub:mnist", "hub:mnist"),
        ("photos/flowers", "flowers"),
        ("/home/ada/photos.zip", "photos.zip"),
        ("C:\\Users\\ada\\photos.zip", "photos.zip"),
        ("/home/ada/photos/", "photos"),
        ("hub:/home/ada/photos", "photos"),
        (None, None),
    ],
)
def test_a_source_is_named_as_others_would_name_it(source, published, run):
    assert published_record(made_up(run, {"source": source}))["source"] == published


@pytest.mark.parametrize(
    ("weights", "repository"), [("hub", "timm/vgg11.tv_in1k"), ("random", None), ("bundled", None)]
)
def test_the_body_says_where_it_is_found(weights, repository, run):
    body = {"weights": weights, "sha256": "0" * 64, "revision": "a1"}
    told = published_record(made_up(run, {"body": body}))
    assert told["body"] == body | {"repository": repository}


def test_why_the_body_was_taken_is_a_matter_of_the_machine(run):
    reason = "ImageNet's body is not at hand (the Hub at http://proxy.home:8080 does not answer)"
    told = made_up(run, {"result": run.record["result"] | {"weights_reason": reason}})
    assert published_record(told)["result"]["weights_reason"] == "as trained"


def test_a_config_keeps_its_labels_and_loses_what_another_program_wrote(tmp_path):
    config = {
        "architecture": "vgg11",
        "num_classes": 2,
        "label_names": ["A/B", "C\\D"],
        "_name_or_path": "/home/ada/vgg",
        "model_args": {"mlp_ratio": 0.5, "cache_dir": "/home/ada"},
        "pretrained_cfg": {"input_size": [3, 32, 32], "file": "/home/ada/x", "crop_mode": "squash"},
    }
    assert published_config(config) == {
        "architecture": "vgg11",
        "num_classes": 2,
        "label_names": ["A/B", "C\\D"],
        "model_args": {"mlp_ratio": 0.5},
        "pretrained_cfg": {"input_size": [3, 32, 32], "crop_mode": "squash"},
    }


def test_bare_is_what_stands_after_the_last_slash_of_either_kind():
    shown = {"/a/b": "b", "a\\b": "b", "a/b\\c": "c", "a/": "a", "plain name": "plain name", "": ""}
    assert {text: bare(text) for text in shown} == shown
