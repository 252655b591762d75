import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.tiny import held, tiny_network
from transfer.features.linear_probe import STRENGTHS, fit_linear, standardised


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
    assert fit_linear(head, data, seed=0) == 1.0
    assert torch.allclose(head.mean, data["train"].inputs[0].mean(dim=(0, 2, 3)), atol=1e-5)
    x = standardised(head, data["train"])
    model = LogisticRegression(C=STRENGTHS[0], max_iter=1000, random_state=0)
    model.fit(x, data["train"].labels.numpy())
    new = split(classes, 9, seed=2)
    wanted = model.predict_proba(standardised(head, new))
    assert np.allclose(scores(head, new), wanted, atol=1e-3)


def test_the_strength_with_the_best_validation_score_is_used(monkeypatch):
    def predict(model, _):
        wrong = {1e-2: 3, 1e-1: 3}.get(model.C, 6)
        return (np.arange(12) + (np.arange(12) < wrong)) % 3

    monkeypatch.setattr(LogisticRegression, "predict", predict)
    head, data = linear_head(3), {"train": split(3), "validation": split(3, 12, seed=1)}
    assert fit_linear(head, data, seed=0) == 0.75
    x, y = standardised(head, data["train"]), data["train"].labels.numpy()
    model = LogisticRegression(C=1e-2, max_iter=1000, random_state=0).fit(x, y)
    off = head.layers[-1].weight.detach().numpy() - model.coef_
    assert np.linalg.norm(off) < 0.02 * np.linalg.norm(model.coef_)


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


def test_balanced_weights_predict_a_rare_class_more_often(monkeypatch):
    """The accuracy that is reported counts images, without class weights."""
    data, head = {"train": rare(), "validation": rare(seed=1)}, linear_head(2)
    new, predicted = rare(400, seed=2), []
    for balanced in (False, True):
        fit_linear(head, data, seed=0, balanced=balanced)
        predicted.append(scores(head, new).argmax(1).sum())
    assert predicted[1] > 2 * predicted[0]
    monkeypatch.setattr(LogisticRegression, "predict", lambda model, x: np.zeros(len(x)))
    assert fit_linear(head, data, seed=0, balanced=True) == pytest.approx(0.9)
