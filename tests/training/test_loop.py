"""The epoch loop on a head, or a tiny network, and features in memory."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.tiny import SIDE, drained, held, picture, tiny_network, validation
from transfer.data.transform import Transform
from transfer.events import EpochDone, PhaseDone
from transfer.features.validation import Validation
from transfer.model.vgg import Network, Segment
from transfer.settings import BLOCKS, PhaseSettings
from transfer.training.accelerator import make_accelerator
from transfer.training.loop import Phase, PhaseTrainer, _loader
from transfer.training.step import class_weights, copied

TRANSFORM = Transform(image_size=SIDE)
PHASE = PhaseSettings(
    epochs=2, learning_rate=1e-2, optimizer="adamw", weight_decay=0.05, batch_size=8, patience=10
)


def features(images: int = 24, seed: int = 0) -> torch.Tensor:
    """(1, N, 512, 1, 1) of 2 alternating classes that are easily told apart."""
    noise = torch.randn(images, 512, generator=torch.Generator().manual_seed(seed))
    noise[::2, :16] += 8
    noise[1::2, 16:32] += 8
    return noise.reshape(1, images, 512, 1, 1)


def labels(images: int = 24) -> torch.Tensor:
    return torch.arange(images) % 2


def easy() -> dict:
    return {"train": held(features(), labels()), "validation": held(features(12, 1), labels(12))}


def pixels(images: int = 8) -> dict:
    """Two alternating kinds of stripes, uint8 (1, N, 3, SIDE, SIDE), for both splits."""
    drawn = [TRANSFORM.pixels(picture(i % 2, i // 2)) for i in range(images)]
    inputs = torch.from_numpy(np.stack(drawn))[None]
    return {name: held(inputs, labels(images)) for name in ("train", "validation")}


def train(network: Network, data: dict, settings: PhaseSettings = PHASE, **options):
    """(epochs, PhaseDone) of a phase on the head, or on the parts that `unfreeze` names."""
    should_stop = options.pop("should_stop", lambda: False)
    unfreeze = options.pop("unfreeze", None)
    learns = network.freeze_below(unfreeze or "none")
    phase = Phase(
        name="warm-up",
        module=Segment(network if unfreeze else network.head, TRANSFORM),
        learns=learns,
        groups=network.trainable_groups(settings.learning_rate),
        data=data,
        settings=settings,
        drift_from_now=lambda: network.drift_from_now(learns),
        **{"seed": 0} | options,
    )
    trainer = PhaseTrainer(phase, make_accelerator(phase.seed, "fp32"))
    events, _ = drained(trainer.run(should_stop))
    assert isinstance(events[-1], PhaseDone)
    return [event for event in events if isinstance(event, EpochDone)], events[-1]


def moved(network: Network, before: dict[str, torch.Tensor]) -> set[str]:
    """The parts of which a tensor is no longer bit-identical."""
    own = {name: part.state_dict() for name, part in network.parts()}
    return {
        part
        for part, tensors in own.items()
        for key, tensor in tensors.items()
        if not torch.equal(tensor, before[f"{'head' if part == 'head' else 'features'}.{key}"])
    }


def best_of(epochs: list[EpochDone]) -> EpochDone:
    return min(epochs, key=lambda e: e.validation_loss)


@pytest.mark.parametrize("block", ["none", "block5", "block4"])
def test_what_is_frozen_stays_bit_identical_and_the_rest_moves(block):
    network = tiny_network(classes=2, dropout=0.0)
    before = copied(network)
    settings = replace(PHASE, learning_rate=1e-3 if block == "none" else 1e-5, epochs=1)
    epochs, done = train(network, pixels(), settings, unfreeze=block)
    learning = {"head"} if block == "none" else {*BLOCKS[BLOCKS.index(block) :], "head"}
    assert done.best_epoch > 0
    assert moved(network, before) == learning == set(epochs[-1].drift)
    assert all(drift > 0 for drift in epochs[-1].drift.values())


def test_epoch_0_is_the_start_and_the_last_epoch_is_taken():
    network = tiny_network(classes=2)
    epochs, done = train(network, easy(), replace(PHASE, epochs=4))
    assert [e.epoch for e in epochs] == [0, 1, 2, 3, 4]
    assert epochs[0].loss is None and epochs[0].drift == {"head": 0.0}
    assert [e.best for e in epochs][-1] == (best_of(epochs) == epochs[-1])
    assert (done.best_epoch, done.accuracy) == (4, epochs[4].validation_accuracy)
    assert done.ended == "epoch limit" and done.epochs == 4


def judged(losses: list[float]) -> Validation:
    return validation(torch.tensor(losses), torch.arange(len(losses)) % 2 == 0)


def scripted(monkeypatch, losses: list[list[float]]) -> None:
    """Each validation finds the next of these losses."""
    found = iter(losses)
    monkeypatch.setattr(
        PhaseTrainer,
        "_validate",
        lambda self: judged(next(found)),
    )


LOW, HIGH = [0.1 + 0.001 * i for i in range(20)], [0.5 + 0.01 * i for i in range(20)]
ONE_BAD = [*LOW[:-1], 9.0]


@pytest.mark.parametrize(
    ("losses", "options", "epoch", "share"),
    [
        ([HIGH, LOW, ONE_BAD, ONE_BAD], {}, 2, 1.0),
        ([HIGH, LOW, HIGH, HIGH, LOW], {}, 1, 1.0),
        ([LOW, HIGH, HIGH, HIGH, LOW], {}, 0, 1.0),
        ([LOW, HIGH, HIGH, HIGH, LOW], {"tunes_body": True}, 0, 1.0),
        ([HIGH, HIGH, LOW, LOW], {"bars": (ONE_BAD,)}, 2, 1.0),
        ([LOW, ONE_BAD, ONE_BAD, ONE_BAD, LOW, LOW], {"bars": (LOW,), "starts_fitted": True}, 0, 1),
        ([HIGH, LOW, LOW, LOW], {"bars": (HIGH,), "starts_fitted": True}, 2, 1.0),
    ],
    ids=["one-image", "best", "start", "never-below", "bar", "fit-stays", "fit-beaten"],
)
def test_the_last_weights_are_taken_unless_others_are_better_by_more_than_chance(
    monkeypatch, losses, options, epoch, share
):
    scripted(monkeypatch, losses)
    bars = tuple(map(judged, options.pop("bars", ())))
    _, done = train(tiny_network(classes=2), easy(), bars=bars, **options)
    assert (done.best_epoch, done.share) == (epoch, share)


def test_weights_between_start_and_end_are_taken_where_only_they_are_as_good(monkeypatch):
    """Both epochs are worse than the start, and so is the first of the weights between."""
    scripted(monkeypatch, [ONE_BAD, HIGH, HIGH, HIGH, HIGH, HIGH, LOW])
    network = tiny_network(classes=2)
    before = copied(network)["head.layers.1.weight"]
    _, done = train(network, easy(), tunes_body=True, bars=(judged(LOW),))
    assert (done.best_epoch, done.share) == (2, 0.5)
    assert not torch.equal(network.head.layers[1].weight, before)


@pytest.mark.parametrize(("images", "taken"), [(4, 0), (5, 2)])
def test_a_tuned_body_needs_enough_images_that_can_judge_it(images, taken):
    data = easy() | {"validation": held(features(images), labels(images))}
    _, done = train(tiny_network(classes=2), data, tunes_body=True)
    assert done.best_epoch == taken


def test_a_phase_never_ends_below_its_start():
    network = tiny_network(classes=2)
    train(network, easy(), replace(PHASE, epochs=4))
    before = copied(network)
    wrong = easy() | {"train": held(features(), 1 - labels())}
    epochs, done = train(network, wrong, replace(PHASE, epochs=6))
    assert epochs[0].validation_accuracy == 1.0 > min(e.validation_accuracy for e in epochs)
    assert done.best_epoch == 0 and done.accuracy == 1.0
    assert moved(network, before) == set()


def test_the_epoch_that_reaches_the_target_ends_the_phase_even_if_its_loss_is_higher():
    network, hard = tiny_network(classes=2), features(12, 1)
    hard[:, :1] = -40 * features(1)
    data = easy() | {"validation": held(hard, labels(12))}
    epochs, done = train(network, data, replace(PHASE, epochs=30), target_accuracy=11 / 12)
    assert done.ended.startswith("target accuracy") and done.accuracy >= 11 / 12
    assert done.best_epoch == epochs[-1].epoch != best_of(epochs).epoch
    assert all(e.validation_accuracy < 11 / 12 for e in epochs[:-1])


def test_a_stop_ends_within_a_batch_keeps_what_it_learned_and_does_not_interpolate():
    network, validations = tiny_network(classes=2), []
    network.head.register_forward_hook(lambda *_: validations.append(not torch.is_grad_enabled()))
    epochs, done = train(network, easy(), should_stop=lambda: True, tunes_body=True)
    assert done.ended == "stopped" and (done.epochs, done.best_epoch) == (1, 1)
    assert epochs[1].validation_loss < epochs[0].validation_loss
    assert sum(validations) == 3, "before and after the one batch, and of what is taken"


@pytest.mark.parametrize("batch_size", [8, 24], ids=["in-a-batch", "in-validation"])
def test_a_loss_that_is_not_finite_ends_the_phase_with_finite_weights(batch_size):
    """A network of NaN predicts class 0, which is always right here."""
    network = tiny_network(classes=2)
    with torch.no_grad():
        network.head.layers[-1].bias.copy_(torch.tensor([-100.0, 100.0]))
    data = easy() | {"validation": held(features(12, 1), torch.zeros(12, dtype=torch.int64))}
    settings = replace(PHASE, optimizer="sgd", batch_size=batch_size, learning_rate=1e38)
    epochs, done = train(network, data, settings, target_accuracy=0.9)
    assert done.ended == "the loss was no longer finite; try a smaller learning rate"
    assert done.accuracy == 0.0 and done.best_epoch == 0
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
    assert all(math.isfinite(epoch.validation_loss) for epoch in epochs)


def test_the_learning_rate_warms_up_and_decays_to_almost_zero(monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def noted(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    train(tiny_network(classes=2), easy(), replace(PHASE, epochs=10))
    assert len(rates) == 30
    assert rates[0] < rates[1] < rates[2] and rates[3:] == sorted(rates[3:], reverse=True)
    assert max(rates) == pytest.approx(1e-2, rel=0.05) and rates[-1] < 1e-4


def test_class_weights_count_in_the_loss_also_of_a_batch_in_parts():
    labels, losses = (torch.arange(24) % 6 == 0).long(), []
    data = dict.fromkeys(("train", "validation"), held(features(), labels))
    weights = class_weights(labels, 2)
    for options in (
        {},
        {"class_weights": weights},
        {"class_weights": weights, "images_at_once": 5},
    ):
        network = tiny_network(classes=2, hidden=(), dropout=0.0)
        settings = replace(PHASE, epochs=1, batch_size=24, optimizer="sgd", learning_rate=0.1)
        epochs, _ = train(network, data, settings, **options)
        losses.append((epochs[1].loss, epochs[1].validation_loss))
    assert losses[1] == pytest.approx(losses[2], rel=1e-3)
    assert losses[1] != pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("kind", ["cuda", "cpu"])
def test_batches_go_to_a_gpu_from_pinned_memory_without_waiting(kind):
    device = SimpleNamespace(device=torch.device(kind), num_processes=1)
    assert _loader(easy()["train"], 4, device).pin_memory == (kind == "cuda")
    assert make_accelerator(0, "fp32").non_blocking
