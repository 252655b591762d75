import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from tests.publishing.card.cards import REPOSITORY, card_of, edited, with_classes
from tests.tiny import CLASSES, picture
from transfer.errors import RunError, SettingsError
from transfer.publishing.bundle import write_bundle
from transfer.publishing.card.model_card import GENERATED, replace_generated, split_card

HUB_SOURCE = {"source": "hub:someone/insects (small)", "revision": "c0ffee" * 6 + "c0ff"}
DIGITS = {"source": "digits", "revision": "scikit-learn 1.9.1"}
HUB_BODY = {"weights": "hub", "revision": "0123456789abcdef"}


@pytest.fixture(scope="module")
def written(run, tmp_path_factory):
    return card_of(run, tmp_path_factory.mktemp("card") / "card")


def metadata_of(card: str) -> dict:
    """As the Hub reads it."""
    return ModelCard(card).data.to_dict()


def test_a_card_gives_results_training_and_limits(run, written):
    low, high = (f"{100 * bound:.1f} %" for bound in run.report["interval"])
    assert f"**{100 * run.accuracy:.1f} % accuracy on {run.report['images']} test" in written
    assert f"95 % interval: {low} to {high}" in written
    for stage, name in (("features", "logistic regression"), ("fine-tune", "after fine-tuning")):
        accuracy = 100 * run.report["stages"][stage]["accuracy"]
        assert re.search(rf"\| {name}[^|]*\| {accuracy:.1f} % \| ", written)
    shown = re.findall(r"!\[[^\]]+\]\(([\w.]+)\)", written)
    assert sorted(shown) == ["confusion.png", "curves.png", "reliability.png"]


def test_a_card_says_which_epoch_is_saved(run, tmp_path):
    ends = ({"best_epoch": 0, "share": 1.0}, {"best_epoch": 2, "share": 0.25})
    *others, warm_up, fine_tune = run.record["phases"]
    phases = [*others, warm_up | ends[0], fine_tune | ends[1]]
    card = card_of(edited(run, phases=phases), tmp_path / "card")
    assert "none of them better than the fitted linear classifier, which is saved;" in card
    assert "saved is 25 % of the way to epoch 2;" in card


def test_a_card_gives_balanced_accuracy_where_classes_are_uneven(run, written, tmp_path):
    assert "balanced" not in written
    stages = {
        name: stage | {"balanced_accuracy": 0.432} for name, stage in run.report["stages"].items()
    }
    uneven = edited(run, report={"uneven": True, "balanced_accuracy": 0.321, "stages": stages})
    card = card_of(uneven, tmp_path / "uneven")
    assert "the mean of their recalls, is **32.1 %**." in card
    rows = re.findall(r"^\|(?: step|---:?| log| after).*\|$", card, re.M)[:3]
    assert {row.count("|") for row in rows} == {5} and "| 43.2 % |" in card
    older = {k: v for k, v in run.report.items() if k not in ("uneven", "balanced_accuracy")}
    assert "accuracy on" in card_of(replace(run, report=older), tmp_path / "older")


def test_the_metadata_are_what_the_hub_reads(run, written, tmp_path):
    card = card_of(edited(run, body=HUB_BODY, **HUB_SOURCE), tmp_path / "card")
    data = metadata_of(card)
    assert data["base_model"] == "timm/vgg11.tv_in1k" and data["datasets"] == ["someone/insects"]
    assert data["pipeline_tag"] == "image-classification" and data["metrics"] == ["accuracy"]
    (entry,) = data["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "stripes" and result["dataset"]["type"] == "someone/insects"
    assert result["dataset"]["revision"] == HUB_SOURCE["revision"]
    assert result["metrics"] == [{"type": "accuracy", "value": round(run.accuracy, 4)}]
    head, full = metadata_of(written), metadata_of(card_of(run, tmp_path / "full", "full"))
    assert not {"library_name", "base_model", "datasets"} & head.keys()
    assert full["library_name"] == "timm" and data["base_model_relation"] == "adapter"
    assert {*full["tags"]} - {*head["tags"]} == {"timm", "transformers"}


def test_a_card_links_to_the_space_that_made_it(run, written, tmp_path, monkeypatch):
    assert "huggingface.co/spaces" not in written and "`pip install .`" in written
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "me/space")
    card = card_of(run, tmp_path / "card", private=False)
    assert f"(https://huggingface.co/spaces/me/space?run={REPOSITORY})" in card
    assert "`pip install git+https://huggingface.co/spaces/me/space`" in card
    assert "once this repository is public" not in card
    assert "once this repository is public" in card_of(run, tmp_path / "private")


def test_ten_thousand_classes_make_a_short_card(run, tmp_path):
    many = with_classes(run, tuple(f"class {i}" for i in range(10_000)))
    card = card_of(many, tmp_path / "card")
    assert len(card) < 30_000 and "| 200 | class 199 |" in card and "| class 200 |" not in card


@pytest.mark.parametrize("source", ["/home/olga/photos/", "C:\\Users\\olga\\photos"])
def test_no_path_and_no_file_name_of_a_private_image_is_in_a_card(source, run, tmp_path):
    mistake = {"name": "me-at-sea.jpg", "label": "across", "predicted": "down", "score": 0.95}
    card = card_of(edited(run, report={"mistakes": [mistake]}, source=source), tmp_path / "card")
    assert "“photos”" in card and not re.search("olga|home|Users|at-sea", card)
    assert not (tmp_path / "card" / "mistakes.png").exists()


def test_nothing_in_a_run_becomes_markup(run, tmp_path):
    evil = "x: y\n---\n<script>alert(1)</script> | `rm` [a](javascript:b) {{ 7 * 7 }}"
    run = edited(run, source=evil, body={"weights": f"file:{evil}"}, versions={evil: evil})
    card = card_of(with_classes(run, (evil, "b", "c")), tmp_path / "card")
    _, head, text = card.split("---\n", 2)
    assert "<script" not in text and "](javascript" not in text and "`rm`" not in text
    assert yaml.safe_load(head).keys() == {"pipeline_tag", "tags", "metrics", "model-index"}
    assert "alert" in text and "7 &#42; 7" in text  # no template either


def test_an_exported_folder_has_a_card_that_claims_nothing(run, tmp_path):
    card = card_of(None, tmp_path / "card", "full", classes=CLASSES)
    assert "across, down and spots" in card and "the accuracy is not known" in card
    assert {"license", "model-index", "base_model"}.isdisjoint(metadata_of(card))
    with pytest.raises(RunError, match="train again"):
        card_of(edited(run, report={"stages": {"warm-up": 1}}), tmp_path / "damaged")


def test_a_second_publish_changes_the_generated_part_alone(run, written, tmp_path):
    assert card_of(run, tmp_path / "again", previous=written) == written
    before, after = "Written by me. 😀\r\n\r\n", "\n## My own thanks\n\tto  all \n"
    by_hand = written.replace("# stripes", before + "# Stripes, mine") + after
    by_hand = by_hand.replace("tags:\n", "language: en\ntags:\n- bees\n")
    card = card_of(edited(run, report={"accuracy": 0.999}), tmp_path / "new", previous=by_hand)
    assert before + "# Stripes, mine" in card and card.endswith(after)
    assert "**99.9 % accuracy" in card and f"**{100 * run.accuracy:.1f} % acc" not in card
    data = metadata_of(card)
    assert data["language"] == "en" and "bees" in data["tags"]
    assert data["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.999
    full = card_of(edited(run, **HUB_SOURCE), tmp_path / "full", "full")
    data = metadata_of(card_of(run, tmp_path / "head", previous=full))
    assert not {"library_name", "datasets"} & data.keys() and "timm" not in data["tags"]


def test_a_card_without_marks_is_a_persons_and_stays(run, tmp_path):
    theirs = "---\nlicense: mit\ndatasets: mine\n---\n\n# My model\n\nIt is mine.  \n"
    card = card_of(run, tmp_path / "card", previous=theirs)
    assert "\n\n# My model\n\nIt is mine.  \n\n<!-- transfer: begin generated" in card
    data = metadata_of(card)
    assert data["license"] == "mit" and data["datasets"] == "mine" and "# stripes" not in card
    assert "Published under **mit**" in card
    theirs = b"# Caf\xe9\r\nIt is mine.\r\n"  # not UTF-8
    card_of(run, tmp_path / "bytes", previous=theirs.decode("utf-8", "surrogateescape"))
    assert theirs in (tmp_path / "bytes" / "README.md").read_bytes()


def test_sections_of_an_earlier_version_are_replaced_and_text_between_them_stays():
    begin, end = "<!-- transfer: begin {} -->\nold\n", "<!-- transfer: end {} -->\n"
    first, second = ((begin + end).format(name, name) for name in ("summary", "results"))
    new = replace_generated(f"# mine\n\n{first}\nmine too\n\n{second}", "new")
    assert "old" not in new and new.count("transfer: begin") == new.count("transfer: end") == 1
    assert new.index("# mine") < new.index("new") < new.index("mine too")


@pytest.mark.parametrize(
    "text",
    [
        "mine 1\n<!-- transfer: begin generated -->\nmine 2",
        "mine 1 `<!-- transfer: begin generated -->` mine 2\n<!-- transfer: end generated -->",
        "<!-- transfer: begin a -->\nmine\n<!-- transfer: begin b -->\n<!-- transfer: end a -->",
    ],
)
def test_no_text_is_lost_if_marks_are_incomplete(text):
    new = replace_generated(text, "new")
    assert new.startswith(text) and len(GENERATED.findall(new)) == 1
    again = replace_generated(new, "newer")
    assert again.startswith(text) and "newer" in again and "new\n" not in again


@pytest.mark.parametrize("block", ["license: [mit\nmine: yes", "- a\n- list", "a: \0"])
def test_metadata_that_cannot_be_read_become_text(block, run, tmp_path):
    card = card_of(run, tmp_path / "card", previous=f"---\n{block}\n---\n# Mine\n")
    data, text = split_card(card)
    assert data["pipeline_tag"] == "image-classification" and text.startswith("# Mine\n")
    assert all(f"    {line}" in text for line in block.splitlines())
    assert card_of(run, tmp_path / "again", previous=card) == card


def test_a_license_that_a_person_chose_stays_until_another_is_named(run, tmp_path):
    first = card_of(run, tmp_path / "first", license="CC BY 4.0")
    assert metadata_of(first)["license"] == "cc-by-4.0" and "Published under **cc-by-4.0" in first
    assert card_of(run, tmp_path / "again", previous=first) == first
    known = edited(run, body={"weights": "bundled"}, **DIGITS)
    follows = card_of(known, tmp_path / "follows")
    assert metadata_of(follows)["license"] == "cc-by-4.0" and "Zisserman" in follows
    assert "license" not in metadata_of(card_of(run, tmp_path / "replaced", previous=follows))
    other = card_of(run, tmp_path / "other", previous=first, license="mit")
    assert metadata_of(other)["license"] == "mit"
    with pytest.raises(SettingsError, match="mit, apache"):
        card_of(run, tmp_path / "none", license="do what you\nwant: true")


@pytest.mark.parametrize(
    ("what", "blocks"), [("head", 2), pytest.param("full", 3, marks=pytest.mark.full)]
)
def test_the_code_on_the_card_runs_as_it_is(what, blocks, run, tmp_path, monkeypatch, capfd):
    if what == "full":
        pytest.importorskip("transformers", reason="requirements-dev.txt names transformers")
    monkeypatch.chdir(tmp_path)
    picture(1, 5).save("photo.jpg")
    folder = write_bundle(run, what, tmp_path / what).folder
    card = card_of(run, tmp_path / "card", what).replace(
        f"hf-hub:{REPOSITORY}", f"local-dir:{folder}"
    )
    code = re.findall(r"```(python|bash)\n(.*?)```", card, re.DOTALL)
    assert len(code) == blocks
    for language, text in code:
        here = text.replace(REPOSITORY, str(folder))
        if language == "python":
            exec(compile(here, "the card", "exec"), {})
        else:
            command = [sys.executable, *shlex.split(here)[1:]]
            environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
            subprocess.run(command, check=True, timeout=120, env=environment)
        assert any(name in capfd.readouterr().out for name in CLASSES)
