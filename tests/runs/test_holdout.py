import shutil

import pytest

import transfer
from tests.tiny import TINY, draw_classes, picture
from transfer.data.source import load_splits
from transfer.inference.evaluate import evaluate
from transfer.runs.holdout import NOTE
from transfer.runs.run import Run
from transfer.settings import TrainingSettings

LIMIT = 5
QUICK = TINY | {"precision": "fp32", "method": "features", "views": 1}


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """(source, run) of a training on five images of each class."""
    folder = tmp_path_factory.mktemp("limited")
    source = draw_classes(folder / "source", each=20)
    options = QUICK | {"limit_per_class": LIMIT}
    return source, transfer.train(str(source), out=folder / "run", **options)


@pytest.fixture
def own(stripes, run, tmp_path):
    """(source, run) that a test may change: as `stripes`, to the time of change."""
    source = shutil.copytree(stripes, tmp_path / "stripes")
    return source, changed(run, source=str(source))


def changed(run: Run, **record) -> Run:
    known = {name: value for name, value in (run.record | record).items() if value is not None}
    return Run(path=run.path, record=known, report=run.report)


def judge(run: Run, source, split: str = "test", **options) -> dict:
    return evaluate(transfer.load(run), str(source), split, **options)


def judged(*args, **options) -> tuple:
    report = judge(*args, **options)
    return report["held_out"], report["note"]


def test_its_own_test_images_are_recognised_and_others_are_not(run, stripes, tmp_path):
    assert judged(run, stripes) == (True, None)
    assert not {"held_out", "note"} & judge(run, stripes, "train").keys()
    copy = shutil.copytree(stripes, tmp_path / "copy", copy_function=shutil.copyfile)
    assert judged(run, copy) == (True, None), "only the times differ"
    assert judged(run, draw_classes(tmp_path / "others", each=10)) == (None, None)


def test_one_more_photo_in_each_class_is_reported(own):
    source, run = own
    for kind, name in enumerate(run.classes):
        picture(kind, 77).save(source / name / "00.png")
    assert judged(run, source) == (False, NOTE)


def test_an_older_run_without_the_hash_is_recognised_while_nothing_has_changed(own):
    source, run = own
    older = changed(run, tested_on=None)
    assert judge(older, source)["held_out"] is True
    assert judge(older, source, limit_per_class=LIMIT)["note"] == NOTE
    picture(0, 77).save(source / "across" / "00.png")
    assert judged(older, source) == (None, NOTE)


def test_the_limit_of_the_training_applies_to_its_own_source_only(limited, tmp_path, monkeypatch):
    source, run = limited
    (tmp_path / "link").symlink_to(source)
    monkeypatch.chdir(source.parent)
    for name in (source, tmp_path / "link", "./source/"):
        report = judge(run, name)
        assert (report["held_out"], report["images"]) == (True, 3)
    assert judge(run, source, limit_per_class=10)["note"] == NOTE
    others = draw_classes(tmp_path / "others", each=20)
    assert judge(run, others)["images"] == 12
    assert judge(run, others, limit_per_class=10)["images"] == 6


@pytest.mark.parametrize(
    ("source", "given", "limit"),
    [
        ("ann/pets", {}, LIMIT),
        ("hub:ann/pets", {"config": "small"}, LIMIT),
        ("ann/pets", {"config": "large"}, None),
        ("ann/cars", {}, None),
    ],
)
def test_a_hub_dataset_is_recognised_by_name_and_config(
    run, stripes, monkeypatch, source, given, limit
):
    asked, images = [], load_splits(str(stripes), TrainingSettings())
    monkeypatch.setattr(
        "transfer.runs.holdout.load_splits", lambda _, settings: asked.append(settings) or images
    )
    settings = run.record["settings"] | {"limit_per_class": LIMIT, "config": "small"}
    trained = changed(run, source="hub:ann/pets (small)", revision="1", settings=settings)
    judge(trained, source, **given)
    assert [one.limit_per_class for one in asked] == [limit]
