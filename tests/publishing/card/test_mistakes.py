import shutil

import pytest

from tests.hub_datasets import plain
from tests.publishing.card.cards import card_of, edited
from tests.tiny import TINY
from transfer.cache.paths import cache_folder
from transfer.data.source import load_splits
from transfer.publishing.card.mistakes import find_mistakes
from transfer.training.recipe import train


def with_mistakes(run, source: str):
    """As if every test image had been classified wrongly."""
    test = load_splits(source, run.settings).splits["test"]
    mistakes = [
        {
            "name": name,
            "label": run.classes[label],
            "predicted": run.classes[label - 1],
            "score": 0.7,
        }
        for name, label in zip(test.names, test.labels, strict=True)
    ]
    return edited(run, report={"mistakes": mistakes})


@pytest.fixture(params=[{}, {"limit_per_class": 8}], ids=["all", "limited"])
def hub_run(hub, tmp_path, request):
    """A run on a public dataset of the Hub."""
    hub.add("datasets", "some/rows", {"train.parquet": plain(*[0, 1] * 12)})
    options = TINY | {"method": "features", "views": 1} | request.param
    options = {name: value for name, value in options.items() if "epochs" not in name}
    run = train("hub:some/rows", out=tmp_path / "run", **options)
    run = with_mistakes(run, "hub:some/rows")
    hub.served.clear()
    return run


def test_mistakes_on_a_hub_dataset_are_shown_only_without_a_download(hub, hub_run):
    found = find_mistakes(hub_run)
    assert found and found[0].truth[0] in hub_run.classes
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
    digits = edited(run, source="digits", revision=load_splits("digits", run.settings).revision)
    digits.record["classes"] = [str(digit) for digit in range(10)]
    digits = with_mistakes(digits, "digits")
    card = card_of(digits, tmp_path / "public", source_is_public=True)
    assert "(mistakes.png)" in card and (tmp_path / "public" / "mistakes.png").is_file()
    assert "mistakes.png" not in card_of(digits, tmp_path / "private")
    folder = edited(run, source="digits", revision="of a folder")
    assert "scikit-learn's" not in card_of(folder, tmp_path / "folder")
