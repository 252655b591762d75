import shutil

import pytest

from tests.hub_datasets import plain
from tests.publishing.card.cards import card_of, edited
from transfer.cache.paths import cache_folder
from transfer.data.source import load_splits
from transfer.publishing.card.mistakes import find_mistakes


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
    found = find_mistakes(hub_run)
    assert found and found[0][1] == hub_run.report["mistakes"][0]
    assert not [name for name, _ in hub.served if name.endswith(".parquet")]
    if hub_run.settings.limit_per_class:
        shutil.rmtree(cache_folder() / "datasets")
        assert find_mistakes(hub_run) == []
        assert not [name for name, _ in hub.served if name.endswith(".parquet")]


@pytest.mark.parametrize("hub_run", [{"limit_per_class": 8}], indirect=True)
def test_images_of_another_revision_or_class_are_not_shown(hub_run):
    assert find_mistakes(edited(hub_run, revision="another")) == []
    assert find_mistakes(edited(hub_run, source="hub:some/where")) == []
    for change in ({"name": ""}, {"label": "another"}):
        mistakes = [mistake | change for mistake in hub_run.report["mistakes"]]
        assert find_mistakes(edited(hub_run, report={"mistakes": mistakes})) == []


def test_mistakes_on_digits_are_shown_if_the_source_is_public(run, tmp_path):
    known = {"classes": [*"0123456789"], "source": "digits"}
    known["revision"] = load_splits("digits", run.settings).revision
    digits = with_mistakes(edited(run, **known), "digits")
    card = card_of(digits, tmp_path / "public", source_is_public=True)
    assert "(mistakes.png)" in card and (tmp_path / "public" / "mistakes.png").is_file()
    assert "mistakes.png" not in card_of(digits, tmp_path / "private")
