import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from tests.publishing.card.cards import REPOSITORY, card_of, telling, with_classes
from tests.tiny import CLASSES, TINY, picture
from transfer.errors import RunError, SettingsError
from transfer.publishing.bundle import write_bundle
from transfer.publishing.card import write_card
from transfer.training.recipe import train

DIGITS = {"source": "digits", "revision": "scikit-learn 1.9.1"}
OF_THE_HUB = {"source": "hub:someone/insects (small)", "revision": "c0ffee" * 6 + "c0ff"}
FRONT = {"pipeline_tag", "tags", "metrics", "model-index"}
HUB_BODY = {"weights": "hub", "revision": "0123456789abcdef"}


@pytest.fixture
def written(run, tmp_path):
    return card_of(run, tmp_path / "card")


def head_of(card: str) -> dict:
    """As the Hub reads it."""
    return ModelCard(card).data.to_dict()


def test_a_card_says_how_accurate_the_model_is_and_on_how_many_images(run, written):
    low, high = (f"{100 * bound:.1f} %" for bound in run.report["interval"])
    sentence = f"**{100 * run.accuracy:.1f} % of {run.report['images']} test images are answered"
    assert sentence in written and f"95 % interval: {low} to {high}" in written


def test_a_card_says_what_each_step_bought_on_the_same_test_images(run, written):
    names = {"features": "body features only", "warm-up": "after warm-up"}
    names["fine-tune"] = "after fine-tune"
    for stage, told in names.items():
        accuracy = 100 * run.report["stages"][stage]["accuracy"]
        assert re.search(rf"\| {told}[^|]*\| {accuracy:.1f} % \| ", written)


def test_a_card_says_how_the_model_was_trained(run, written):
    parameters = run.record["result"]["head_parameters"]
    original = run.record["result"]["original_head_parameters"] / 1e6
    assert f"{parameters:,} parameters in place of VGG11's own {original:.1f} million" in written
    assert "2 epochs, epoch " in written and "learning rate 1e-05" in written
    assert "32 × 32 px" in written and f"torch {run.record['versions']['torch']}" in written


def test_a_card_says_what_cannot_be_known(run, tmp_path, written):
    assert "Every picture gets one of these classes" in written
    assert f"{run.report['images']} test images are few" in written
    assert "nothing was transferred" in written
    bundled = telling(run, body={"weights": "bundled"})
    assert "a weak stand-in" in card_of(bundled, tmp_path / "bundled")


def test_the_head_of_a_card_is_what_the_hub_reads(run, tmp_path):
    card = card_of(telling(run, body=HUB_BODY, **OF_THE_HUB), tmp_path / "card")
    head = head_of(card)
    assert head["base_model"] == "timm/vgg11.tv_in1k" and head["datasets"] == ["someone/insects"]
    assert head["pipeline_tag"] == "image-classification" and head["metrics"] == ["accuracy"]
    (entry,) = head["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "stripes"
    assert result["dataset"] | {"config": None} == {
        "name": "someone/insects",
        "type": "someone/insects",
        "split": "test",
        "revision": OF_THE_HUB["revision"],
        "config": None,
    }
    assert result["metrics"] == [{"type": "accuracy", "value": round(run.accuracy, 4)}]


def test_a_head_names_no_library_that_could_not_load_it(run, written):
    head = head_of(written)
    assert "library_name" not in head and not {"timm", "transformers"} & set(head["tags"])
    assert "base_model" not in head and "datasets" not in head


def test_a_full_network_is_timms(run, tmp_path):
    head = head_of(card_of(run, tmp_path / "card", "full"))
    assert head["library_name"] == "timm" and {"timm", "transformers"} <= set(head["tags"])


def test_the_same_run_makes_the_same_files(run, tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        card_of(run, folder)
    for name in ("README.md", "curves.png", "confusion.png"):
        one, other = ((folder / name).read_bytes() for folder in folders)
        assert one == other


def test_pictures_that_the_card_shows_are_there(run, tmp_path, written):
    shown = re.findall(r"!\[[^\]]+\]\(([\w.]+)\)", written)
    assert sorted(shown) == ["confusion.png", "curves.png"]
    assert all((tmp_path / "card" / name).is_file() for name in shown)


def test_more_than_twenty_classes_are_folded(run, tmp_path):
    few = card_of(with_classes(run, tuple(f"c{i}" for i in range(20))), tmp_path / "few")
    many = card_of(with_classes(run, tuple(f"c{i}" for i in range(21))), tmp_path / "many")
    assert "### Each class" in few and "<summary>21 classes, each for itself</summary>" in many


def test_ten_thousand_classes_make_a_short_card_of_the_weakest(run, tmp_path):
    many = with_classes(run, tuple(f"class {i}" for i in range(10_000)))
    started = time.monotonic()
    card = card_of(many, tmp_path / "card")
    assert time.monotonic() - started < 10 and len(card) < 30_000
    assert "The 200 weakest of 10,000 classes" in card and "and 9,988 more" in card
    assert "| 200 | class 199 |" in card and "| class 200 |" not in card
    assert not (tmp_path / "card" / "confusion.png").exists()


def test_no_path_and_no_file_name_of_a_private_image_stands_in_a_card(run, tmp_path):
    mistake = {"name": "me-at-sea.jpg", "label": "across", "predicted": "down", "score": 0.95}
    for source in ("/home/olga/photos/", "C:\\Users\\olga\\photos"):
        told = telling(run, report={"mistakes": [mistake]}, source=source)
        told.record["result"]["run"] = "/home/olga/runs/one"
        card = card_of(told, tmp_path / "card")
        assert "“photos”" in card and str(tmp_path) not in card
        assert not any(secret in card for secret in ("olga", "/home", "Users", "at-sea"))
        assert not (tmp_path / "card" / "mistakes.png").exists()


def test_mistakes_of_the_digits_are_shown(tmp_path):
    run = train("digits", out=tmp_path / "run", **TINY | {"limit_per_class": 12, "head_epochs": 1})
    assert run.report["mistakes"]
    public = card_of(run, tmp_path / "public", source_is_public=True)
    assert "(mistakes.png)" in public and (tmp_path / "public" / "mistakes.png").is_file()
    assert "mistakes.png" not in card_of(run, tmp_path / "private")


def test_a_folder_called_digits_is_not_the_public_digits(run, tmp_path):
    card = card_of(telling(run, source="digits", revision="abc123"), tmp_path / "card")
    assert "license" not in head_of(card) and "scikit-learn's" not in card


def test_what_is_in_the_run_is_no_markup(run, tmp_path):
    evil = "x: y\n---\n<script>alert(1)</script> | `rm` [a](javascript:b)"
    told = telling(run, source=evil, body={"weights": f"file:{evil}"}, versions={evil: evil})
    card = card_of(told, tmp_path / "card")
    _, head, text = card.split("---\n", 2)
    assert "<script" not in text and "](javascript" not in text and "`rm`" not in text
    assert yaml.safe_load(head).keys() == FRONT
    (result,) = head_of(card)["model-index"][0]["results"]
    assert result["dataset"]["type"] == "imagefolder" and "alert" in text


def test_an_exported_folder_without_its_run_has_a_card_that_claims_nothing(tmp_path):
    card = card_of(None, tmp_path / "card", "full", classes=CLASSES)
    assert "across, down and spots" in card and "no accuracy is known" in card
    assert "No licence is stated" in card
    assert {"license", "model-index", "base_model"}.isdisjoint(head_of(card))


def test_plain_features_have_a_card_without_curves(stripes, tmp_path):
    options = {name: value for name, value in TINY.items() if "epochs" not in name}
    run = train(str(stripes), out=tmp_path / "run", method="features", **options)
    card = card_of(run, tmp_path / "card")
    assert "feature extraction" in card and "curves.png" not in card


@pytest.mark.parametrize(
    "report", [{"confusion": None}, {"stages": {"warm-up": 1}}, {"interval": 3}]
)
def test_a_damaged_report_is_told_in_one_line(report, run, tmp_path):
    with pytest.raises(RunError) as caught:
        card_of(telling(run, report=report), tmp_path / "card")
    assert "train again" in str(caught.value) and not (tmp_path / "card" / "README.md").exists()


def test_a_licence_that_is_none_is_refused(run, tmp_path):
    with pytest.raises(SettingsError, match="mit, apache"):
        card_of(run, tmp_path / "card", license="do what you\nwant: true")


def test_a_given_licence_wins_and_is_kept_by_later_publishes(run, tmp_path):
    first = card_of(run, tmp_path / "first", license="CC BY 4.0")
    assert head_of(first)["license"] == "cc-by-4.0" and "Published under **cc-by-4.0**" in first
    again = card_of(run, tmp_path / "again", previous=first)
    assert again == first
    other = card_of(run, tmp_path / "other", previous=first, license="mit")
    assert head_of(other)["license"] == "mit"


def test_a_licence_that_a_person_wrote_into_the_card_wins_over_ours(run, tmp_path):
    run = telling(run, body={"weights": "bundled"})
    first = card_of(run, tmp_path / "first")
    assert head_of(first)["license_name"] == "imagenet-terms"
    block = "license: other\nlicense_name: imagenet-terms\n"
    changed = first.replace(block, "license: other\nlicense_name: my-terms\n")
    for number in range(3):
        changed = card_of(run, tmp_path / str(number), previous=changed)
        assert head_of(changed)["license_name"] == "my-terms"


def test_a_second_publish_changes_nothing_where_nothing_changed(run, tmp_path, written):
    assert card_of(run, tmp_path / "again", previous=written) == written


def test_a_second_publish_brings_new_figures_and_keeps_what_was_written_by_hand(
    run, tmp_path, written
):
    before, after = "Written by me. 😀\r\n\r\n", "\n## My own thanks\n\tto  all \n"
    end = "<!-- transfer: end summary -->"
    by_hand = written.replace("# stripes", before + "# Stripes, mine").replace(end, end + after)
    better = telling(run, report={"accuracy": 0.999})
    card = card_of(better, tmp_path / "again", previous=by_hand)
    assert before + "# Stripes, mine" in card and end + after in card
    assert "**99.9 % of" in card and f"**{100 * run.accuracy:.1f} % of" not in card
    (result,) = head_of(card)["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == 0.999


def test_a_card_written_by_a_person_alone_stays_and_ours_stands_beneath(run, tmp_path):
    theirs = "---\nlicense: mit\nlanguage: en\n---\n\n# My model\n\nIt is mine.  \n"
    card = card_of(run, tmp_path / "card", previous=theirs)
    assert "\n\n# My model\n\nIt is mine.  \n\n<!-- transfer: begin summary -->" in card
    assert head_of(card)["license"] == "mit" and head_of(card)["language"] == "en"
    assert "# stripes" not in card and head_of(card)["pipeline_tag"] == "image-classification"


BROKEN = [
    "license: [mit\nmine: yes",
    "- a\n- list",
    "just words",
    "a: b: c",
    "mine: &x [1]\nalso: *x",
    "mine: " + "[" * 600,
    "mine: \x00",
]


@pytest.mark.parametrize("block", BROKEN)
def test_metadata_that_cannot_be_read_becomes_text(block, run, tmp_path):
    theirs = f"---\n{block}\n---\n# My model\n\nIt is mine.\n"
    card = card_of(run, tmp_path / "card", previous=theirs)
    assert "# My model\n\nIt is mine.\n" in card and f"```yaml\n{block}\n```" in card
    assert head_of(card)["pipeline_tag"] == "image-classification"
    assert card_of(run, tmp_path / "again", previous=card) == card


@pytest.fixture(scope="module")
def code(run, tmp_path_factory) -> dict[str, list[tuple[str, str]]]:
    """head or full → (language, code) of its card's blocks, with a folder for the repository."""
    found = {}
    for what in ("head", "full"):
        bundle = write_bundle(run, what, tmp_path_factory.mktemp("code") / what)
        write_card(bundle, REPOSITORY, source_is_public=False)
        card = (bundle.folder / "README.md").read_text(encoding="utf-8")
        here = card.replace(f"hf-hub:{REPOSITORY}", f"local-dir:{bundle.folder}")
        here = here.replace(REPOSITORY, str(bundle.folder))
        found[what] = re.findall(r"```(python|bash)\n(.*?)```", here, re.DOTALL)
    return found


@pytest.mark.parametrize(
    ("what", "number"), [("head", 0), ("head", 1), ("full", 0), ("full", 1), ("full", 2)]
)
def test_the_code_on_the_card_runs_as_it_stands(what, number, code, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    picture(1, 5).save("photo.jpg")
    how, text = code[what][number]
    if "transformers" in text:
        pytest.importorskip("transformers", reason="requirements-dev.txt names transformers")
    if how == "python":
        exec(compile(text, "the card", "exec"), {})
    else:
        command = [sys.executable, *shlex.split(text)[1:]]
        subprocess.run(command, check=True, timeout=120, env=_found_from_anywhere())
    assert any(name in capfd.readouterr().out for name in CLASSES)


def _found_from_anywhere() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}


def test_every_block_of_code_was_run(code):
    assert {what: [how for how, _ in blocks] for what, blocks in code.items()} == {
        "head": ["python", "bash"],
        "full": ["python", "python", "python"],
    }


def test_a_card_that_is_no_unicode_keeps_its_bytes(run, tmp_path):
    theirs = b"# Caf\xe9\r\nIt is mine.\r\n"
    card_of(run, tmp_path / "card", previous=theirs.decode("utf-8", "surrogateescape"))
    assert theirs in (tmp_path / "card" / "README.md").read_bytes()
