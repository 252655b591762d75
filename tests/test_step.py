import pytest
import torch

from transfer.step import class_weights


def test_classes_weigh_the_same_in_all_and_an_image_1_on_average():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = class_weights(labels, 3)
    for label in range(3):
        assert weights[labels][labels == label].sum() == pytest.approx(10 / 3)
    assert weights[labels].mean() == pytest.approx(1)
