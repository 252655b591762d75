import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.functional import cross_entropy

from tests.tiny import held, tiny_network
from transfer.errors import TransferError
from transfer.features.validation import TEMPERATURES
from transfer.training.step import (
    TrainStep,
    class_weights,
    predict,
    smoothed_loss,
    train_mode,
    validate,
)


def test_class_weights_are_equal_in_total_and_1_on_average():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = class_weights(labels, 3)
    for label in range(3):
        assert weights[labels][labels == label].sum() == pytest.approx(10 / 3)
    assert weights[labels].mean() == pytest.approx(1)


def test_smoothing_gives_the_other_classes_the_same_whatever_their_weights():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([0.1, 1.0, 9.0])
    for label in range(3):
        labels = torch.full((5,), label)
        weighted = weights[label] * cross_entropy(logits, labels, label_smoothing=0.1)
        assert smoothed_loss(logits, labels, weights).item() == pytest.approx(weighted.item())


def test_a_loss_counts_each_image_by_its_class_weight():
    logits, labels = torch.randn(4, 2), torch.tensor([0, 0, 0, 1])
    each = [smoothed_loss(logits[i : i + 1], labels[i : i + 1]).item() for i in range(4)]
    loss = smoothed_loss(logits, labels, torch.tensor([1.0, 3.0])).item()
    assert loss == pytest.approx((sum(each[:3]) + 3 * each[3]) / 4)
    assert smoothed_loss(logits, labels).item() == pytest.approx(sum(each) / 4)


@pytest.mark.parametrize("counts", [(1000, 10), (400, 400, 20)])
@pytest.mark.parametrize("at_once", [32, 5])
def test_every_class_has_the_same_share_of_what_moves_the_weights_in_an_epoch(counts, at_once):
    """The last columns of the input say the class; what moves their weights is its gradient."""
    generator, classes = torch.Generator().manual_seed(0), len(counts)
    labels = torch.arange(classes).repeat_interleave(torch.tensor(counts))
    noise = torch.randn(len(labels), 512, generator=generator)  # its norm makes clipping act
    inputs = torch.cat([noise, nn.functional.one_hot(labels)], dim=1)
    module, moved = nn.Linear(512 + classes, classes, bias=False), torch.zeros(classes)
    nn.init.zeros_(module.weight)
    rate = 1e-6  # the network stays as it is
    step = TrainStep(
        Accelerator(cpu=True),
        module,
        torch.optim.SGD(module.parameters(), lr=rate),
        at_once,
        class_weights(labels, classes),
    )
    for rows in torch.randperm(len(labels), generator=generator).split(32):
        before = module.weight.detach().clone()
        step(inputs[rows], labels[rows])
        move = (module.weight.detach() - before) / rate
        assert move.norm() <= step.class_weights[labels[rows]].square().mean().sqrt() + 0.01
        moved += move[:, -classes:].diagonal()
    assert moved / moved.sum() == pytest.approx([1 / classes] * classes, abs=0.05)


class Limited(nn.Linear):
    """Runs out of memory on more than `most` images."""

    most = 3

    def forward(self, inputs):
        if len(inputs) > self.most:
            raise RuntimeError("CUDA out of memory.")
        return super().forward(inputs)


def test_out_of_memory_halves_the_parts_until_one_image_does_not_fit():
    module = Limited(4, 2)
    step = TrainStep(Accelerator(), module, torch.optim.SGD(module.parameters(), lr=0.1), 8)
    inputs, labels = torch.randn(8, 4), torch.arange(8) % 2
    expected = smoothed_loss(nn.functional.linear(inputs, module.weight, module.bias), labels)
    assert step(inputs, labels) == pytest.approx(expected.item(), rel=1e-2)
    assert step.images_at_once == 2
    module.most = 0
    with pytest.raises(TransferError, match="expected enough memory for one image"):
        step(inputs, labels)


def test_validation_goes_on_in_parts_where_memory_is_short():
    module, labels = Limited(2, 2), torch.arange(8) % 2
    nn.init.eye_(module.weight)
    inputs = 3.0 * nn.functional.one_hot(torch.tensor([0, 1, 0, 0, 1, 1, 0, 1]))
    with torch.no_grad():
        logits = nn.functional.linear(inputs, module.weight, module.bias)
    found = validate(Accelerator(cpu=True), module, [(inputs, labels)])
    losses = [cross_entropy(logits / t, labels).item() for t in TEMPERATURES]
    assert found.loss == pytest.approx(min(losses), rel=1e-2)
    assert found.accuracy == 0.75


class Halving(nn.Module):
    """A body that halves its input, and runs out of memory on more than `most` images."""

    most = 3

    def forward(self, inputs):
        if len(inputs) > self.most:
            raise RuntimeError("CUDA out of memory.")
        return inputs / 2


def test_predictions_are_logits_and_averages_of_the_plain_views_of_readable_rows():
    features = torch.rand(2, 40, 512, 2, 2, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([row for row in range(40) if row != 5])
    body, head = Halving().train(), tiny_network().head
    logits, averages = predict(
        body, head, held(features, torch.zeros(39), rows=rows, random_views=True)
    )
    assert not body.training and logits.dtype == averages.dtype == np.float32
    with torch.no_grad():
        expected = head(features[0, rows] / 2).numpy()
    assert logits.shape == (39, 3) and np.allclose(logits, expected, atol=1e-5)
    assert np.allclose(averages, (features[0, rows] / 2).mean((2, 3)).numpy(), atol=1e-6)


def test_only_frozen_layers_stay_in_eval_mode_during_training():
    frozen, learns = nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2)
    module = nn.Sequential(frozen, nn.Dropout(), learns).eval()
    train_mode(module)
    assert [child.training for child in module] == [False, True, True]
