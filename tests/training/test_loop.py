import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.tiny import SIDE, drained, held, picture, tiny_network
from transfer.data.transform import Transform
from transfer.events import BatchDone, EpochDone, PhaseDone
from transfer.model.vgg import Network, Segment
from transfer.settings import BLOCKS, PhaseSettings
from transfer.training.loop import make_accelerator, run_phase
from transfer.training.phase_state import BestWeights
from transfer.training.step import LABEL_SMOOTHING, class_weights, copied

TRANSFORM = Transform(image_size=SIDE)
PHASE = PhaseSettings(
    epochs=2,
    learning_rate=1e-2,
    optimizer="adamw",
    weight_decay=0.05,
    batch_size=8,
    patience=10,
)


def features(images: int = 24, seed: int = 0, strength: float = 8.0) -> torch.Tensor:
    """What a body could give for 2 classes in turn, easily told apart: (1, N, 512, 1, 1)."""
    noise = torch.randn(images, 512, generator=torch.Generator().manual_seed(seed))
    noise[::2, :16] += strength
    noise[1::2, 16:32] += strength
    return noise.reshape(1, images, 512, 1, 1)


def labels(images: int = 24) -> torch.Tensor:
    return torch.arange(images) % 2


def easy() -> dict:
    return {"train": held(features(), labels()), "validation": held(features(12, 1), labels(12))}


def contrary() -> dict:
    """Whatever is learned here is wrong on validation."""
    return easy() | {"validation": held(features(12, 1), 1 - labels(12))}


def pixels(images: int = 8) -> dict:
    """Two kinds of stripes in turn, the same ones to train on and to validate."""
    shown = [TRANSFORM.pixels(picture(i % 2, i // 2)) for i in range(images)]
    inputs = torch.from_numpy(np.stack(shown))[None]
    return {name: held(inputs, labels(images)) for name in ("train", "validation")}


def phase(
    network: Network,
    data: dict,
    settings: PhaseSettings = PHASE,
    *,
    module: Segment | None = None,
    unfreeze: str = "none",
    target: float | None = None,
    should_stop=lambda: False,
    seed: int = 0,
    **options,
):
    """(epochs, PhaseDone) of a phase on the head, or on the given module."""
    accelerator = make_accelerator(seed)
    learns = network.freeze_below(unfreeze)
    events, _ = drained(
        run_phase(
            "warm-up",
            accelerator,
            module or Segment(network.head, TRANSFORM),
            network.trainable_groups(settings.learning_rate),
            data,
            settings,
            seed=seed,
            target_accuracy=target,
            should_stop=should_stop,
            drift=network.drift_from_now(learns),
            **options,
        )
    )
    assert isinstance(events[-1], PhaseDone)
    return [event for event in events if isinstance(event, EpochDone)], events[-1]


def state(network: Network) -> dict[str, torch.Tensor]:
    return copy.deepcopy(network.state_dict())


def moved(network: Network, before: dict[str, torch.Tensor]) -> set[str]:
    """The parts of which a tensor is no longer bit-identical."""
    own = {name: part.state_dict() for name, part in network.parts()}
    return {
        part
        for part, tensors in own.items()
        for key, tensor in tensors.items()
        if not torch.equal(tensor, before[f"{'head' if part == 'head' else 'features'}.{key}"])
    }


def kept_of(epochs: list[EpochDone]) -> EpochDone:
    """Of those not less accurate than the start, the one of least validation loss."""
    fit = [e for e in epochs if e.validation_accuracy >= epochs[0].validation_accuracy]
    return min(fit, key=lambda e: e.validation_loss)


def test_a_warm_up_leaves_every_tensor_of_the_body_bit_identical():
    network = tiny_network(classes=2, dropout=0.0)
    before = state(network)
    settings = replace(PHASE, learning_rate=1e-3)
    _, done = phase(
        network, pixels(), settings, module=Segment(network, TRANSFORM), unfreeze="none"
    )
    assert done.best_epoch > 0
    assert moved(network, before) == {"head"}


@pytest.mark.parametrize("block", ["block5", "block4"])
def test_a_fine_tune_moves_the_unfrozen_blocks_and_leaves_the_others_bit_identical(block):
    network = tiny_network(classes=2, dropout=0.0)
    before = state(network)
    settings = replace(PHASE, learning_rate=1e-5, epochs=1)
    epochs, done = phase(
        network, pixels(), settings, module=Segment(network, TRANSFORM), unfreeze=block
    )
    learning = {*BLOCKS[BLOCKS.index(block) :], "head"}
    assert done.best_epoch > 0
    assert moved(network, before) == learning
    assert set(epochs[-1].drift) == learning
    assert all(drift > 0 for drift in epochs[-1].drift.values())


def test_frozen_layers_stay_in_eval_mode_while_what_learns_trains():
    network, modes = tiny_network(classes=2), set()
    watched = {"block1": network.features[0], "block5": network.features[16], "drop": network.head}
    for name, layer in watched.items():
        layer.register_forward_hook(
            lambda module, *_, name=name: modes.add(
                (name, module.training, torch.is_grad_enabled())
            )
        )
    phase(
        network,
        pixels(),
        replace(PHASE, epochs=1),
        module=Segment(network, TRANSFORM),
        unfreeze="block5",
    )
    assert {(n, t) for n, t, learns in modes if learns} == {
        ("block1", False),
        ("block5", True),
        ("drop", True),
    }
    assert not any(training for _, training, learns in modes if not learns)


def test_the_same_seed_gives_the_same_curve_and_bit_identical_tensors():
    def curve(seed):
        network = tiny_network(classes=2)
        epochs, _ = phase(network, easy(), seed=seed)
        return [(e.loss, e.validation_loss) for e in epochs], network.head.state_dict()

    first, tensors = curve(0)
    again, same = curve(0)
    other, _ = curve(1)
    assert first == again
    assert all(torch.equal(tensors[name], same[name]) for name in tensors)
    assert first != other


def test_epoch_0_is_the_state_before_and_the_best_epoch_is_kept():
    network = tiny_network(classes=2)
    epochs, done = phase(network, easy(), replace(PHASE, epochs=4))
    assert [e.epoch for e in epochs] == [0, 1, 2, 3, 4]
    assert epochs[0].loss is None and epochs[0].drift == {"head": 0.0}
    assert epochs[done.best_epoch] == kept_of(epochs)
    assert done.accuracy == kept_of(epochs).validation_accuracy
    assert done.ended == "epoch limit" and done.epochs == 4


def test_a_phase_never_ends_below_its_start():
    network = tiny_network(classes=2)
    phase(network, easy(), replace(PHASE, epochs=4))
    before = state(network)
    wrong_on_train = easy() | {"train": held(features(), 1 - labels())}
    epochs, done = phase(network, wrong_on_train, replace(PHASE, epochs=6))
    assert epochs[0].validation_accuracy == 1.0
    assert min(e.validation_accuracy for e in epochs) < 1.0
    assert done.best_epoch == 0 and done.accuracy == 1.0
    assert moved(network, before) == set()


@pytest.mark.parametrize(
    ("accuracy", "share", "kept"), [(0.5, 0.5, 0.5), (0.4, 1.0, 1.0)], ids=["better", "gated"]
)
def test_what_lies_between_start_and_best_epoch_is_kept_where_it_is_better(accuracy, share, kept):
    """The best weight is 0.6: start is 0, the trained epoch 1."""
    module = torch.nn.Linear(1, 1, bias=False)

    def at(weight: float) -> torch.nn.Module:
        module.load_state_dict({"weight": torch.tensor([[weight]])})
        return module

    best = BestWeights(start_accuracy=0.5, first=copied(at(0.0)))
    best.offer(0, 0.6, 0.5, at(0.0), wanted=False)
    best.offer(1, 0.4, 0.5, at(1.0), wanted=False)
    best.offer_between(module, lambda: (abs(module.weight.item() - 0.6), accuracy))
    assert (best.epoch, best.share, best.state["weight"].item()) == (1, share, kept)


def test_a_phase_that_looks_between_ends_no_worse_and_says_what_it_kept():
    data, done = easy(), {}
    for between in (False, True):
        network = tiny_network(classes=2, dropout=0.0)
        settings = replace(PHASE, epochs=3, learning_rate=0.3)
        _, done[between] = phase(network, data, settings, between=between)
        with torch.no_grad():
            logits = network.head.eval()(data["validation"].inputs[0])
        found = torch.nn.functional.cross_entropy(logits, data["validation"].labels).item()
        assert done[between].loss == pytest.approx(found, abs=1e-2)
    assert done[True].loss <= done[False].loss and done[False].share == 1.0


def test_a_phase_that_was_stopped_looks_no_further():
    """Its few updates are soon behind it; looking would take longer."""
    network = tiny_network(classes=2)
    looked = []
    network.head.register_forward_hook(lambda *_: looked.append(torch.is_grad_enabled()))
    phase(network, easy(), should_stop=lambda: True, between=True)
    assert looked.count(False) == 2, "before and after the one batch"


def test_a_phase_ends_when_its_patience_does():
    network = tiny_network(classes=2)
    epochs, done = phase(network, contrary(), replace(PHASE, epochs=50, patience=2))
    assert done.ended == "no better epoch in 2"
    assert done.epochs == done.best_epoch + 2 == epochs[-1].epoch < 50


def test_the_target_accuracy_ends_the_phase_and_says_so():
    network = tiny_network(classes=2)
    epochs, done = phase(network, easy(), replace(PHASE, epochs=60), target=0.9)
    assert done.ended == "target accuracy 0.9 reached on validation"
    assert done.accuracy >= 0.9
    assert done.epochs == epochs[-1].epoch < 60
    assert all(e.validation_accuracy < 0.9 for e in epochs[:-1])


@torch.no_grad()
def test_after_a_phase_the_module_computes_in_full_precision_again():
    """`phase` leaves it to autocast while it trains."""
    network = tiny_network(classes=2)
    module = Segment(network.head, TRANSFORM)
    with torch.enable_grad():
        phase(network, easy(), module=module)
    assert torch.equal(module(features()[0]), network.head.eval()(features()[0]))


def test_no_epochs_means_the_state_as_it_was():
    network = tiny_network(classes=2)
    before = state(network)
    epochs, done = phase(network, easy(), replace(PHASE, epochs=0))
    assert len(epochs) == 1 and done.epochs == 0
    assert moved(network, before) == set()


def test_should_stop_ends_within_a_batch_and_keeps_the_best():
    network, asked = tiny_network(classes=2), []

    def at_the_eighth_batch():
        asked.append(None)
        return len(asked) >= 8

    before = state(network)
    epochs, done = phase(network, contrary(), should_stop=at_the_eighth_batch)
    assert len(asked) == 6, "three batches an epoch, two epochs: not stopped yet"
    assert done.ended == "epoch limit"
    network.load_state_dict(before)
    asked.clear()
    settings = replace(PHASE, epochs=50, patience=50)
    epochs, done = phase(network, contrary(), settings, should_stop=at_the_eighth_batch)
    assert len(asked) == 8 and done.ended == "stopped"
    assert done.epochs == 3 == epochs[-1].epoch
    assert done.best_epoch < 3
    assert done.best_epoch == kept_of(epochs).epoch


def test_a_stop_after_a_good_batch_keeps_what_it_learned():
    network = tiny_network(classes=2)
    epochs, done = phase(network, easy(), should_stop=lambda: True)
    assert done.ended == "stopped" and done.best_epoch == 1
    assert epochs[1].validation_loss < epochs[0].validation_loss


@pytest.mark.parametrize("target", [None, 0.9])
@pytest.mark.parametrize("batch_size", [8, 24], ids=["in-a-batch", "in-validation"])
def test_a_loss_that_is_no_longer_finite_ends_the_phase_with_finite_weights(batch_size, target):
    """A network of NaN answers class 0, which is always right here."""
    network = tiny_network(classes=2)
    with torch.no_grad():
        network.head.layers[-1].bias.copy_(torch.tensor([-100.0, 100.0]))
    data = easy() | {"validation": held(features(12, 1), torch.zeros(12, dtype=torch.int64))}
    settings = PhaseSettings(**vars(PHASE) | {"optimizer": "sgd", "batch_size": batch_size})
    epochs, done = phase(network, data, replace(settings, learning_rate=1e38), target=target)
    assert done.ended == "the loss was no longer finite; try a smaller learning rate"
    assert done.accuracy == 0.0 and done.best_epoch == 0
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
    assert all(math.isfinite(epoch.validation_loss) for epoch in epochs)


def test_an_epoch_that_reaches_the_target_is_kept_though_its_loss_be_higher():
    network = tiny_network(classes=2)
    data = easy()
    hard = features(12, 1)
    hard[:, :1] = -40 * features(1)
    data["validation"] = held(hard, labels(12))
    epochs, done = phase(network, data, replace(PHASE, epochs=30), target=11 / 12)
    assert done.ended.startswith("target accuracy")
    assert done.best_epoch == epochs[-1].epoch
    assert done.accuracy >= 11 / 12
    assert kept_of(epochs).epoch != done.best_epoch


@pytest.mark.parametrize(("name", "rate"), [("sgd", 0.1), ("rmsprop", 1e-3), ("AdamW", 1e-2)])
def test_timm_s_optimizers_learn_by_name(name, rate):
    network = tiny_network(classes=2)
    settings = replace(PHASE, optimizer=name, learning_rate=rate, epochs=8)
    epochs, done = phase(network, easy(), settings)
    assert done.accuracy == 1.0
    assert epochs[-1].loss < 0.5 * epochs[1].loss


def test_the_rate_warms_up_and_falls_to_nothing(monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def noted(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    phase(tiny_network(classes=2), easy(), replace(PHASE, epochs=10))
    assert len(rates) == 30
    assert rates[0] < rates[1] < rates[2]
    assert max(rates) == pytest.approx(1e-2, rel=0.05)
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 1e-4


def test_each_epoch_takes_every_image_once_in_an_order_of_its_own():
    seen = []

    def noted(_, inputs, __):
        if torch.is_grad_enabled():
            seen.extend(inputs[0][:, 0, 0, 0].tolist())

    network = tiny_network(classes=2)
    network.head.register_forward_hook(noted)
    phase(network, easy())
    first, second, stored = seen[:24], seen[24:], features()[0, :, 0, 0, 0].tolist()
    assert sorted(first) == sorted(second) == sorted(stored)
    assert first != second and stored not in (first, second)


def test_what_is_learned_are_smoothed_labels():
    """So that being right without any doubt is not what it strives for."""
    network = tiny_network(classes=2, hidden=(), dropout=0.0)
    with torch.no_grad():
        network.head.layers[-1].weight.zero_()
        network.head.layers[-1].bias.copy_(torch.tensor([-3.0, 3.0]))
    data = easy() | {"train": held(features(), torch.ones(24, dtype=torch.int64))}
    epochs, _ = phase(network, data, replace(PHASE, epochs=1, batch_size=24))
    assert epochs[1].loss == pytest.approx(6 * LABEL_SMOOTHING / 2, abs=0.01)


def test_batches_are_told_at_most_a_few_times_a_second():
    network = tiny_network(classes=2)
    network.freeze_below("none")
    events, _ = drained(
        run_phase(
            "warm-up",
            make_accelerator(0),
            Segment(network.head, TRANSFORM),
            network.trainable_groups(1e-3),
            easy(),
            replace(PHASE, batch_size=1, epochs=1),
            seed=0,
            target_accuracy=None,
            should_stop=lambda: False,
            drift=lambda: {},
        )
    )
    told = [event for event in events if isinstance(event, BatchDone)]
    assert 1 <= len(told) < 24
    assert all(event.total == 24 and event.seconds_left >= 0 for event in told)


def uneven() -> dict:
    """Features without any sign of the class, which is 0 in five of six images."""
    labels = (torch.arange(24) % 6 == 0).long()
    noise = torch.randn(1, 24, 512, 1, 1, generator=torch.Generator().manual_seed(0))
    return {name: held(noise, labels) for name in ("train", "validation")}


def test_where_nothing_is_known_weighed_classes_are_answered_alike():
    data, answers = uneven(), {}
    for weights in (None, class_weights(data["train"].labels, 2)):
        network = tiny_network(classes=2, hidden=(), dropout=0.0)
        with torch.no_grad():
            network.head.scale.zero_()  # the bias alone decides
        settings = replace(PHASE, epochs=40, learning_rate=0.1, batch_size=24, weight_decay=0)
        phase(network, data, settings, class_weights=weights)
        with torch.no_grad():
            answers[weights is None] = network.head(data["train"].inputs[0, :1]).softmax(1)[0, 1]
    assert answers[False] == pytest.approx(0.5, abs=0.05)
    assert answers[True] < 0.3


def test_a_frequent_class_is_not_lost_to_one_that_is_thirty_times_rarer():
    sure = (torch.arange(310) % 31 == 0).long()
    inputs = torch.randn(1, 310, 512, 1, 1, generator=torch.Generator().manual_seed(0))
    inputs[0, :, 0] = 4 * (2 * sure - 1)[:, None, None]  # one feature tells them apart
    data = {name: held(inputs, sure) for name in ("train", "validation")}
    settings = replace(PHASE, epochs=20, learning_rate=0.01, batch_size=32)
    network = tiny_network(classes=2, hidden=(), dropout=0.0)
    _, done = phase(network, data, settings, class_weights=class_weights(sure, 2))
    assert done.accuracy > 0.98


def test_equal_weights_are_the_same_as_none():
    curves = [
        phase(tiny_network(classes=2), easy(), class_weights=weights, at_once=at_once)[0]
        for weights, at_once in ((None, 24), (torch.ones(2), 24), (torch.ones(2), 3))
    ]
    losses = [[epoch.validation_loss for epoch in epochs] for epochs in curves]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] == pytest.approx(losses[0], rel=0.2)


def test_a_batch_in_parts_weighs_its_images_as_the_whole_does():
    data, found = uneven(), []
    weights = class_weights(data["train"].labels, 2)
    for at_once in (24, 5):
        network = tiny_network(classes=2, hidden=(), dropout=0.0)
        settings = replace(PHASE, epochs=1, batch_size=24, optimizer="sgd", learning_rate=0.1)
        epochs, _ = phase(network, data, settings, class_weights=weights, at_once=at_once)
        found.append(epochs[1].loss)
    assert found[0] == pytest.approx(found[1], rel=1e-3)
