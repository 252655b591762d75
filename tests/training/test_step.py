import pytest
import torch
from torch.nn.functional import cross_entropy

from transfer.training.step import LABEL_SMOOTHING, class_weights, smoothed_loss


def test_classes_weigh_the_same_in_all_and_an_image_1_on_average():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = class_weights(labels, 3)
    for label in range(3):
        assert weights[labels][labels == label].sum() == pytest.approx(10 / 3)
    assert weights[labels].mean() == pytest.approx(1)


def test_smoothing_gives_the_other_classes_the_same_whatever_they_weigh():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([0.1, 1.0, 9.0])
    for label in range(3):  # of one class alone no weight matters
        labels = torch.full((5,), label)
        plain = cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)
        assert smoothed_loss(logits, labels, weights).item() == pytest.approx(plain.item())


def test_a_loss_counts_each_image_as_its_class_weighs():
    logits, labels = torch.randn(4, 2), torch.tensor([0, 0, 0, 1])
    each = [smoothed_loss(logits[i : i + 1], labels[i : i + 1]).item() for i in range(4)]
    loss = smoothed_loss(logits, labels, torch.tensor([1.0, 3.0])).item()
    assert loss == pytest.approx((sum(each[:3]) + 3 * each[3]) / 6)
    assert smoothed_loss(logits, labels).item() == pytest.approx(sum(each) / 4)
