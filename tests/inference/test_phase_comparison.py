import pytest
import torch

import transfer
from tests.tiny import CLASSES, picture, tiny_body, tiny_network
from transfer.errors import RunError
from transfer.inference.classifier import Classifier
from transfer.inference.phase_comparison import load_stages
from transfer.runs.phase_heads import PhaseHead, pack_heads, read_heads
from transfer.runs.run import STAGES
from transfer.settings import HeadSettings

PHOTO = picture(1, 50)


@pytest.fixture(scope="module")
def stages(run):
    return load_stages(transfer.load(run.path))


def test_each_stage_scores_the_test_images_as_the_report_says(stages, run, stripes):
    assert list(stages.classifiers) == ["features", "warm-up", "fine-tune"]
    for name, reported in run.report["stages"].items():
        found = transfer.evaluate(stages.classifiers[name], str(stripes))
        assert all(found[key] == reported[key] for key in ("accuracy", "interval"))


def test_together_they_predict_what_each_predicts_alone(stages):
    first, *_ = stages.classifiers.values()
    together = stages.predict(first.prepare(PHOTO))
    for name, ours in stages.classifiers.items():
        alone = [(p.label, p.score) for p in ours.classify(PHOTO)]
        assert [(p.label, p.score) for p in together[name]] == alone
    assert len({tuple(p.score for p in ranked) for ranked in together.values()}) >= 2


def test_the_earlier_stages_share_the_original_body(stages):
    first, second, last = (c.network.features for c in stages.classifiers.values())
    assert first is second is not last
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, tiny_body().tensors[f"features.{name}"])


def test_stages_of_a_run_with_a_frozen_body_share_the_run_s_own(run):
    frozen = transfer.load(run)
    original = {name.removeprefix("features."): t for name, t in tiny_body().tensors.items()}
    frozen.network.features.load_state_dict(original)
    assert load_stages(frozen).classifiers["warm-up"].network.features is frozen.network.features


def test_a_model_without_a_training_or_without_the_heads_of_its_stages_is_refused(copied_run):
    foreign = Classifier(network=tiny_network(), transform=None, classes=CLASSES)
    with pytest.raises(RunError, match="without its training"):
        load_stages(foreign)
    (copied_run / STAGES).unlink()
    with pytest.raises(RunError, match="train again to compare"):
        load_stages(transfer.load(copied_run))


@pytest.mark.parametrize("shape", ["avg-8", "nonsense"])
def test_heads_that_do_not_fit_the_run_are_refused(copied_run, shape):
    heads = read_heads(copied_run / STAGES)
    five = PhaseHead.of(tiny_network(classes=5).head, HeadSettings(pooling="avg", hidden=(8,)))
    wrong = PhaseHead(shape=shape, tensors=five.tensors)
    (copied_run / STAGES).write_bytes(pack_heads(heads | {"warm-up": wrong}))
    with pytest.raises(RunError, match="heads that fit the run"):
        load_stages(transfer.load(copied_run))
