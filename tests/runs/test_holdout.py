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


def changed(run: Run, **record) -> Run:
    known = {name: value for name, value in (run.record | record).items() if value is not None}
    return Run(path=run.path, record=known, report=run.report)


def judged(run: Run, source, **options) -> tuple:
    report = evaluate(transfer.load(run), str(source), "test", **options)
    return report["held_out"], report["note"], report["images"]


def test_its_own_test_images_are_recognised_and_others_are_not(run, stripes, tmp_path):
    assert judged(run, stripes)[:2] == (True, None)
    copy = shutil.copytree(stripes, tmp_path / "copy", copy_function=shutil.copyfile)
    assert judged(run, copy)[:2] == (True, None), "only the times differ"
    assert judged(run, draw_classes(tmp_path / "others", each=10))[:2] == (None, None)
    for names in ("test/{}", "val/{} test/{}"):  # the whole split, and one class is enough
        for name in names.format("across", "down").split():
            draw_classes(tmp_path / names[:3] / name, each=1, classes=("",))
        assert judged(run, tmp_path / names[:3]) == (None, None, 1)
    report = evaluate(transfer.load(run), str(stripes), "train")
    assert not {"held_out", "note"} & report.keys()


def test_a_changed_dataset_is_reported(run, stripes, tmp_path):
    """An older run has no hash of its test images; it is recognised while nothing has changed."""
    source = shutil.copytree(stripes, tmp_path / "stripes")
    run = changed(run, source=str(source))
    older = changed(run, tested_on=None)
    assert judged(older, source)[:2] == (True, None)
    assert judged(older, source, limit_per_class=LIMIT)[1] == NOTE
    for kind, name in enumerate(run.classes):
        picture(kind, 77).save(source / name / "00.png")
    assert judged(run, source)[:2] == (False, NOTE)
    assert judged(older, source)[:2] == (None, NOTE)


def test_the_limit_of_the_training_applies_to_its_own_source_only(limited, tmp_path, monkeypatch):
    source, run = limited
    (tmp_path / "link").symlink_to(source)
    monkeypatch.chdir(source.parent)
    for name in (source, tmp_path / "link", "./source/"):
        assert judged(run, name) == (True, None, 3)
    assert judged(run, source, limit_per_class=10)[1] == NOTE
    others = draw_classes(tmp_path / "others", each=20)
    assert judged(run, others)[2] == 60
    assert judged(run, others, limit_per_class=10)[2] == 30


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
        "transfer.runs.holdout.open_limited", lambda _, settings: asked.append(settings) or images
    )
    settings = run.record["settings"] | {"limit_per_class": LIMIT, "config": "small"}
    trained = changed(run, source="hub:ann/pets (small)", revision="1", settings=settings)
    judged(trained, source, **given)
    assert [one.limit_per_class for one in asked] == [limit]
