import json
import shutil

import pytest

import transfer
from tests.tiny import TINY, draw_classes, picture
from transfer.data.source import load_splits
from transfer.errors import SourceError
from transfer.inference.evaluate import evaluate
from transfer.runs.holdout import NOTE, hash_of_tested
from transfer.runs.run import RECORD, Run
from transfer.settings import TrainingSettings

LIMIT = 5
QUICK = TINY | {"precision": "fp32", "effort": "quick", "views": 1, "head_epochs": 1}


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


def test_a_run_tells_what_it_was_tested_on(run, stripes):
    images = load_splits(str(stripes), run.settings)
    assert json.loads((run.path / RECORD).read_text())["tested_on"] == hash_of_tested(images)
    others = load_splits(str(stripes), TrainingSettings(seed=1))
    assert hash_of_tested(others) != hash_of_tested(images)


def test_images_that_were_held_out_are_known_again(run, stripes):
    report = judge(run, stripes)
    assert (report["held_out"], report["note"]) == (True, None)
    assert not {"held_out", "note"} & judge(run, stripes, "train").keys()


def test_one_photo_more_a_class_is_told(own):
    source, run = own
    for kind, name in enumerate(run.classes):
        picture(kind, 77).save(source / name / "00.png")
    report = judge(run, source)
    assert (report["held_out"], report["note"]) == (False, NOTE)


def test_a_copy_that_is_only_younger_holds_the_same_images(run, stripes, tmp_path):
    copy = shutil.copytree(stripes, tmp_path / "copy", copy_function=shutil.copyfile)
    report = judge(run, copy)
    assert (report["held_out"], report["note"]) == (True, None)


def test_of_an_older_run_it_is_known_only_while_nothing_has_changed(own):
    source, run = own
    older = changed(run, tested_on=None)
    assert judge(older, source)["held_out"] is True
    assert judge(older, source, limit_per_class=LIMIT)["note"] == NOTE
    picture(0, 77).save(source / "across" / "00.png")
    report = judge(older, source)
    assert (report["held_out"], report["note"]) == (None, NOTE)


def test_other_images_are_judged_without_a_word(run, tmp_path):
    report = judge(run, draw_classes(tmp_path / "others", each=10))
    assert (report["held_out"], report["note"]) == (None, None)


def test_the_training_s_limit_holds_for_its_own_source_alone(limited, tmp_path):
    source, run = limited
    assert judge(run, source)["held_out"] is True
    assert judge(run, source)["images"] == 3
    others = draw_classes(tmp_path / "others", each=20)
    assert judge(run, others)["images"] == 12
    assert judge(run, others, limit_per_class=10)["images"] == 6


def test_the_training_s_own_source_is_known_by_another_path(limited, tmp_path, monkeypatch):
    source, run = limited
    (tmp_path / "link").symlink_to(source)
    monkeypatch.chdir(source.parent)
    for name in (tmp_path / "link", "./source/"):
        report = judge(run, name)
        assert (report["held_out"], report["images"]) == (True, 3)


def test_another_limit_on_its_own_source_is_told(limited):
    source, run = limited
    assert judge(run, source, limit_per_class=10)["note"] == NOTE


def with_table(folder, column):
    draw_classes(folder / "train", each=10)
    rows = ["file_name," + column]
    for number, path in enumerate(sorted((folder / "train").rglob("*.png"))):
        path.rename(folder / f"{number}.png")
        rows.append(f"{number}.png,{path.parent.name}")
    shutil.rmtree(folder / "train")
    (folder / "metadata.csv").write_text("\n".join(rows))
    return folder


def test_the_training_s_label_column_holds_for_its_own_source_alone(run, tmp_path):
    """Whether it is asked for there is seen by what the sources answer."""
    mine = with_table(tmp_path / "mine", "kind")
    other = with_table(tmp_path / "other", "sort")
    settings = run.record["settings"] | {"label_column": "kind"}
    trained = changed(run, source=str(mine), settings=settings, tested_on=None)
    assert judge(trained, mine)["images"] == 6
    assert judge(trained, other, label_column="sort")["images"] == 6
    with pytest.raises(SourceError, match="--label-column"):
        judge(trained, other, label_column="kind")


@pytest.mark.parametrize(
    ("source", "given", "limit"),
    [
        ("ann/pets", {}, LIMIT),
        ("hub:ann/pets", {"config": "small"}, LIMIT),
        ("ann/pets", {"config": "large"}, None),
        ("ann/cars", {}, None),
    ],
)
def test_a_data_set_of_the_hub_is_its_own_by_name_and_config(
    run, stripes, monkeypatch, source, given, limit
):
    asked = []

    def fake(_, settings):
        asked.append(settings)
        return load_splits(str(stripes), TrainingSettings())

    monkeypatch.setattr("transfer.runs.holdout.load_splits", fake)
    settings = run.record["settings"] | {"limit_per_class": LIMIT, "config": "small"}
    trained = changed(run, source="hub:ann/pets (small)", revision="1", settings=settings)
    judge(trained, source, **given)
    assert [one.limit_per_class for one in asked] == [limit]
