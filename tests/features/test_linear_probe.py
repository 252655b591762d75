import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.tiny import held, tiny_network
from transfer.data.splits import folds
from transfer.features import linear_probe
from transfer.features.linear_probe import (
    STRENGTHS,
    cross_validated,
    fit_linear,
    standardised,
)
from transfer.training.step import class_weights


def split(classes: int, images: int = 30, seed: int = 0, views: int = 1):
    """Features of `classes` kinds in turn, which differ in a few channels: (V, N, 512, 2, 2)."""
    kinds = torch.arange(images) % classes
    noise = torch.randn(views, images, 512, 2, 2, generator=torch.Generator().manual_seed(seed))
    for kind in range(classes):
        noise[:, kinds == kind, 8 * kind : 8 * kind + 8] += 4
    return held(noise, kinds, random_views=views > 1)


def linear_head(classes: int):
    return tiny_network(classes=classes, hidden=(), dropout=0.0).head


def scores(head, cached) -> np.ndarray:
    with torch.no_grad():
        return head(cached.inputs[0]).softmax(1).numpy()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_predicts_as_scikit_learn_does(classes):
    head = linear_head(classes)
    data = {"train": split(classes), "validation": split(classes, 12, seed=1)}
    fit = fit_linear(head, data, seed=0)
    assert fit.validation.accuracy == 1.0
    assert torch.allclose(head.mean, data["train"].inputs[0].mean(dim=(0, 2, 3)), atol=1e-5)
    x = standardised(head, data["train"])
    model = LogisticRegression(C=fit.strength, max_iter=1000)
    model.fit(x, data["train"].labels.numpy())
    new = split(classes, 9, seed=2)
    wanted = model.predict_proba(standardised(head, new))
    assert np.allclose(scores(head, new), wanted, atol=1e-3)


def overlapping(images: int, seed: int):
    """Three classes that a linear classifier tells apart in most cases, not in all."""
    kinds = torch.arange(images) % 3
    noise = torch.randn(1, images, 512, 1, 1, generator=torch.Generator().manual_seed(seed))
    noise[0, torch.arange(images), kinds] += 2
    return held(noise, kinds)


def test_the_strength_is_cross_validated_over_training_and_validation_images():
    head, data = linear_head(3), {"train": overlapping(150, 0), "validation": overlapping(24, 1)}
    fit = fit_linear(head, data, seed=0)
    x = np.concatenate([standardised(head, data[name]) for name in ("train", "validation")])
    y = np.concatenate([data[name].labels.numpy() for name in ("train", "validation")])
    found = cross_validated(x, y, folds(y[:150], y[150:], 0))
    assert len(found[fit.strength].losses) == 174
    assert fit.strength == min(found, key=lambda strength: found[strength].loss) != STRENGTHS[-1]
    assert len(fit.validation.losses) == 24


def test_the_fit_converges_at_every_strength(recwarn):
    data = {"train": overlapping(300, 0), "validation": overlapping(60, 1)}
    fit_linear(linear_head(3), data, seed=0)
    assert not [w for w in recwarn if "converge" in str(w.message).lower()]


def test_a_fit_sees_at_most_so_many_images_and_every_class(monkeypatch):
    monkeypatch.setattr(linear_probe, "MOST_FITTED", 30)
    seen, fit = [], LogisticRegression.fit

    def noted(self, x, y):
        seen.append(np.bincount(y))
        return fit(self, x, y)

    monkeypatch.setattr(LogisticRegression, "fit", noted)
    fit_linear(linear_head(3), {"train": split(3, 300), "validation": split(3, 12)}, seed=0)
    assert seen[-1].tolist() == [10, 10, 10]


def test_only_plain_views_and_readable_rows_are_fitted():
    data = {"train": split(3, views=3), "validation": split(3, 12, seed=1)}
    plain = linear_head(3)
    fit_linear(plain, data, seed=0)
    inputs = data["train"].inputs.clone()
    inputs[1:] = 1e6
    padded = torch.cat([torch.full_like(inputs[:, :1], 1e6), inputs], dim=1)
    rows = torch.arange(1, padded.shape[1])
    spoilt = held(padded, data["train"].labels, rows=rows, random_views=True)
    head = linear_head(3)
    fit_linear(head, data | {"train": spoilt}, seed=0)
    assert torch.allclose(head.layers[-1].weight, plain.layers[-1].weight, atol=1e-6)


def rare(images: int = 200, seed: int = 0):
    """Two classes that overlap; the second has one image in ten."""
    kinds = (torch.arange(images) % 10 == 0).long()
    noise = torch.zeros(1, images, 512, 1, 1)
    noise[0, :, 0, 0, 0] = torch.randn(images, generator=torch.Generator().manual_seed(seed))
    noise[:, kinds == 1, 0] += 1.5
    return held(noise, kinds)


def test_class_weights_predict_a_rare_class_more_often():
    """The accuracy that is reported counts images, without class weights."""
    data, head = {"train": rare(), "validation": rare(seed=1)}, linear_head(2)
    new, predicted = rare(400, seed=2), []
    for weights in (None, class_weights(data["train"].labels, 2)):
        fit = fit_linear(head, data, 0, weights)
        predicted.append(scores(head, new).argmax(1).sum())
        right = scores(head, data["validation"]).argmax(1) == data["validation"].labels.numpy()
        assert fit.validation.accuracy == pytest.approx(right.mean())
    assert predicted[1] > 2 * predicted[0]
