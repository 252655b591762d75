import json
import shutil

import pytest
from huggingface_hub import ModelCard

from tests.hub_datasets import plain
from tests.publishing.card.cards import REPOSITORY, card_of, edited
from transfer.cache.paths import cache_folder
from transfer.data.source import load_splits
from transfer.inference.loading import open_classifier
from transfer.publishing.bundle import write_bundle
from transfer.publishing.card import model_card, write_card
from transfer.publishing.card.images import find_mistakes, open_images


def shown(run):
    """Its mistakes on images that are here."""
    found = open_images(run)
    return find_mistakes(run, found) if found else []


def with_mistakes(run, source: str):
    """As if every test image had been classified wrongly."""
    test = load_splits(source, run.settings).splits["test"]
    mistakes = [
        {"name": name, "score": 0.7, "label": run.classes[i], "predicted": run.classes[i - 1]}
        for name, i in zip(test.names, test.labels, strict=True)
    ]
    return edited(run, report={"mistakes": mistakes})


@pytest.fixture(params=[{}, {"limit_per_class": 8}], ids=["all", "limited"])
def hub_run(hub, run, request):
    """As if the run had been trained on a public dataset of the Hub, which was downloaded."""
    hub.add("datasets", "some/rows", {"train.parquet": plain(*[0, 1] * 12)})
    settings = run.record["settings"] | request.param
    run = edited(run, settings=settings, source="hub:some/rows")
    images = load_splits("hub:some/rows", run.settings)
    run.record.update(classes=list(images.classes), revision=images.revision)
    run = with_mistakes(run, "hub:some/rows")
    hub.served.clear()
    return run


def test_mistakes_on_a_hub_dataset_are_shown_only_without_a_download(hub, hub_run):
    found = shown(hub_run)
    assert found and found[0][1] == hub_run.report["mistakes"][0]
    assert not [name for name, _ in hub.served if name.endswith(".parquet")]
    if hub_run.settings.limit_per_class:
        shutil.rmtree(cache_folder() / "datasets")
        assert shown(hub_run) == []
        assert not [name for name, _ in hub.served if name.endswith(".parquet")]


@pytest.mark.parametrize("hub_run", [{"limit_per_class": 8}], indirect=True)
def test_images_of_another_revision_or_class_are_not_shown(hub_run):
    assert shown(edited(hub_run, revision="another")) == []
    assert shown(edited(hub_run, source="hub:some/where")) == []
    for change in ({"name": ""}, {"label": "another"}):
        mistakes = [mistake | change for mistake in hub_run.report["mistakes"]]
        assert shown(edited(hub_run, report={"mistakes": mistakes})) == []


def test_mistakes_on_digits_are_shown_if_the_source_is_public(run, tmp_path, monkeypatch):
    known = {"classes": [*"0123456789"], "source": "digits"}
    known["revision"] = load_splits("digits", run.settings).revision
    digits = with_mistakes(edited(run, **known), "digits")
    monkeypatch.setattr(model_card, "find_examples", lambda *_: ())  # its head knows other classes
    card = card_of(digits, tmp_path / "public", source_is_public=True)
    assert "(mistakes.png)" in card and (tmp_path / "public" / "mistakes.png").is_file()
    assert "mistakes.png" not in card_of(digits, tmp_path / "private")


@pytest.mark.parametrize("what", ["head", "full"])
def test_a_public_source_gives_examples_with_the_answers_of_what_is_published(
    run, what, tmp_path, monkeypatch
):
    seen = load_splits(run.record["source"], run.settings)
    monkeypatch.setattr(model_card, "open_images", lambda _: seen)
    bundle = write_bundle(run, what, tmp_path / what)
    write_card(bundle, REPOSITORY, source_is_public=True)
    card = (bundle.folder / "README.md").read_text()
    widget, classifier = ModelCard(card).data.widget, open_classifier(bundle.folder)
    assert [example["example_title"] for example in widget] == list(run.classes[:3])
    for number, example in enumerate(widget, 1):
        name = f"example-{number}.jpg"
        assert example["src"] == f"https://huggingface.co/{REPOSITORY}/resolve/main/{name}"
        best, *_ = classifier.classify(bundle.folder / name)
        first, *_ = example["output"]
        assert first == {"label": best.label, "score": pytest.approx(best.score, abs=1e-4)}
    own = {"src": "https://example.org/bee.jpg", "example_title": "mine"}
    persons = card.replace("widget:\n", f"widget:\n- {json.dumps(own)}\n")
    later = card_of(run, tmp_path / "later", previous=persons)
    assert ModelCard(later).data.widget == [own]
