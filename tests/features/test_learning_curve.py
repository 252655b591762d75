import numpy as np
import pytest

from transfer.features.learning_curve import (
    class_gains,
    curve_points,
    doubled,
    fit_power_law,
    hits_by_size,
    nested_order,
    sizes_of,
)

SIZES = [50, 71, 100, 141, 200, 283, 400]


def noisy(images: int, classes: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """(features (N, 40), labels): the more the classes spread, the more images it takes."""
    random = np.random.default_rng(0)
    y = np.arange(images) % classes
    centres = random.normal(size=(classes, 40))
    x = centres[y] + spread * random.normal(size=(images, 40))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), y


def test_every_beginning_of_an_order_has_all_classes_in_their_shares():
    y = np.array([0] * 80 + [1] * 15 + [2] * 5)
    order = nested_order(y, np.arange(100), np.random.default_rng(0))
    assert sorted(order) == list(range(100)) and set(y[order[:3]]) == {0, 1, 2}
    assert abs(np.bincount(y[order[:40]]) - [32, 6, 2]).max() <= 1


def test_a_power_law_is_recovered_and_extrapolated():
    n = np.array(SIZES)
    law = fit_power_law((0.02 + 0.5 * n**-0.5)[None], SIZES)
    assert (law.a[0], law.c[0]) == (pytest.approx(0.02, abs=1e-3), pytest.approx(0.5))
    gain = 0.5 * (400**-0.5 - 800**-0.5)
    assert law.gain(400, 400)[0] == pytest.approx(gain, rel=0.01)
    for errors in (np.linspace(0.1, 0.3, 7), np.zeros(7)):  # more images do not make it worse
        assert fit_power_law(errors[None], SIZES).gain(400, 400)[0] == 0


def test_the_gain_of_twice_as_many_lies_in_its_interval():
    x, y = noisy(800, 4, spread=2.0)
    half = x[:400], y[:400]
    sizes = sizes_of(320, half[1], seed=0)
    hits = hits_by_size(*half, sizes, seed=0)
    points = curve_points(hits, sizes)
    assert [point["images"] for point in points] == sizes and sizes[-1] == 320
    assert all(point["low"] < point["accuracy"] < point["high"] for point in points)
    assert points[0]["accuracy"] < points[-1]["accuracy"]
    found = doubled(hits, sizes, 320, tested=80, seed=0)
    every = hits_by_size(x, y, [320, 640], seed=0).mean(axis=(1, 2))
    assert found["expected"][0] <= every[1] - every[0] <= found["expected"][1]
    assert (
        found["low"] < found["expected"][0] < found["gain"] < found["expected"][1] < found["high"]
    )
    assert found["high"] - found["low"] < 0.2
    more_tested = doubled(hits, sizes, 320, tested=8_000, seed=0)
    assert more_tested["high"] - more_tested["low"] < found["high"] - found["low"]


def test_a_rare_class_gains_more_from_its_own_images_than_a_frequent_one():
    x, y = noisy(900, 3, spread=2.0)
    rare = np.flatnonzero((y != 2) | (np.arange(900) < 120))
    x, y = x[rare], y[rare]
    sizes = sizes_of(len(y), y, seed=0)
    hits = hits_by_size(x, y, sizes, seed=0)
    found = class_gains(x, y, sizes[-1], hits[-1], np.bincount(y), seed=0)
    assert {label: gain["more"] for label, gain in found.items()} == {0: 20, 1: 20, 2: 20}
    assert found[2]["gain"] > 3 * max(found[0]["gain"], found[1]["gain"])
    assert found[2]["low"] > 0 and found[2]["low"] < found[2]["gain"] < found[2]["high"]
    assert 2 not in class_gains(x, y, sizes[-1], hits[-1], np.array([200, 200, 7]), seed=0)
