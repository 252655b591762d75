import json

import pytest
import torch
from safetensors.torch import load_file

import transfer
from tests.tiny import CLASSES, TINY, drained, picture, tiny_body, tiny_network
from transfer.errors import RunError
from transfer.inference.classifier import Classifier
from transfer.inference.phase_comparison import load_stages
from transfer.runs.phase_heads import PhaseHead, pack_heads, read_heads
from transfer.runs.run import RECORD, STAGES, TENSORS
from transfer.settings import HeadSettings
from transfer.training.recipe import training_events

PHOTO = picture(1, 50)


@pytest.fixture(scope="module")
def stages(run):
    return load_stages(transfer.load(run.path))


def refusal(path) -> str:
    with pytest.raises(RunError) as caught:
        load_stages(transfer.load(path))
    text = str(caught.value)
    assert "\n" not in text and str(path.parent) not in text
    return text


def test_stages_come_in_the_order_of_the_training(stages):
    assert list(stages.classifiers) == ["features", "warm-up", "fine-tune"]


def test_each_stage_judges_the_test_images_as_the_training_said(stages, run, stripes):
    for name, told in run.report["stages"].items():
        again = transfer.evaluate(stages.stage(name), str(stripes))
        assert (again["accuracy"], again["interval"]) == (told["accuracy"], told["interval"]), name


def test_the_last_stage_is_the_run_itself(stages, run):
    ours = transfer.load(run.path).classify(PHOTO)
    assert stages.classify(PHOTO)["fine-tune"] == ours


def test_stages_are_told_apart(stages):
    found = [tuple(p.score for p in ranked) for ranked in stages.classify(PHOTO).values()]
    assert len(set(found)) == 3


def test_together_they_say_what_each_says_alone(stages):
    together = stages.classify(PHOTO, top=2)
    assert together == {
        name: ours.classify(PHOTO, top=2) for name, ours in stages.classifiers.items()
    }


def test_the_earlier_stages_share_the_body_as_it_came_which_runs_once(stages):
    first, second, last = (c.network.features for c in stages.classifiers.values())
    assert first is second is not last
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, tiny_body().tensors[f"features.{name}"])
    ran = []
    with torch.no_grad():
        hooks = [f.register_forward_hook(lambda m, *_: ran.append(m)) for f in (first, last)]
        stages.classify(PHOTO)
    for hook in hooks:
        hook.remove()
    assert ran == [first, last]


def test_where_the_body_never_moved_all_stages_share_the_run_s_own(stripes, tmp_path):
    options = TINY | {"unfreeze": "none", "head_epochs": 1}
    _, run = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    ours = transfer.load(run)
    found = load_stages(ours)
    assert list(found.classifiers) == ["features", "warm-up"]
    assert found.stage("features").network.features is ours.network.features
    assert set(read_heads(run.path / STAGES)) == {"features"}


def test_feature_extraction_has_one_stage_and_keeps_no_heads(stripes, tmp_path):
    options = TINY | {"method": "features"}
    _, run = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    assert list(load_stages(transfer.load(run)).classifiers) == ["features"]
    assert not (run.path / STAGES).exists()


def test_a_stage_that_is_none_is_refused(stages):
    with pytest.raises(RunError, match="features, warm-up, fine-tune"):
        stages.stage("later")


def test_a_run_from_before_heads_were_kept_says_so(copied_run):
    (copied_run / STAGES).unlink()
    assert "train again to compare" in refusal(copied_run)
    assert transfer.load(copied_run).classify(PHOTO)


def test_a_model_without_a_training_says_so():
    network = tiny_network()
    foreign = Classifier(network=network, transform=None, classes=CLASSES)
    with pytest.raises(RunError, match="came without"):
        load_stages(foreign)


def test_heads_that_do_not_fit_the_run_are_refused(copied_run):
    heads = read_heads(copied_run / STAGES)
    wrong = PhaseHead.of(tiny_network(classes=5).head, HeadSettings(pooling="avg", hidden=(8,)))
    (copied_run / STAGES).write_bytes(pack_heads(heads | {"warm-up": wrong}))
    assert "heads that fit the run" in refusal(copied_run)
    strange = PhaseHead(shape="nonsense", tensors=wrong.tensors)
    (copied_run / STAGES).write_bytes(pack_heads(heads | {"warm-up": strange}))
    assert "heads that fit the run" in refusal(copied_run)


def test_the_kept_heads_are_small_beside_the_run(run):
    """They hold no tensor of the body."""
    kept = load_file(run.path / STAGES)
    assert {name.split("/")[0] for name in kept} == {"features", "warm-up"}
    assert not any("features." in name for name in kept)
    assert (run.path / STAGES).stat().st_size < (run.path / TENSORS).stat().st_size / 10
    assert json.loads((run.path / RECORD).read_text())["phases"][-1]["name"] == "fine-tune"
