import dataclasses
from dataclasses import replace
from functools import partial

import pytest
import torch

from tests.tiny import drained, held, tiny_network, validation
from transfer.features.cached_dataset import CachedDataset
from transfer.model.vgg import Head, build_head
from transfer.settings import LINEAR_HEAD, HeadSettings, PhaseSettings
from transfer.training import head_search
from transfer.training.defaults import (
    HEAD_LEARNING_RATES,
    TRIAL_VIEWS,
    head_shapes,
    heads_tried,
)
from transfer.training.head_search import (
    LARGEST_FLATTENED,
    TRIAL_VALIDATION_IMAGES,
    Candidate,
    _trial,
    try_heads,
)

CHANNELS, PLACES = 4, 2
IMAGES = 20
BOTH = ("learning_rate", "optimizer")
# a hard image is hard for every head: only a paired test sees which head is better
PLAIN = torch.randn(IMAGES, generator=torch.Generator().manual_seed(0)).exp()
SPREAD = 0.01 * torch.linspace(-1, 1, IMAGES)


def candidate(name: str = "avg-256", dropout: float = 0.5, **change) -> Candidate:
    known = {"learning_rate": 1e-3, "optimizer": "adamw", "weight_decay": 0.01, "epochs": 10}
    head = replace(HeadSettings.named(name), dropout=dropout)
    return Candidate(head=head, warm_up=PhaseSettings(**known | change))


def make_head(settings: HeadSettings) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Head(settings, CHANNELS, PLACES, 2)


def noise(images: int, seed: int, views: int = 1) -> CachedDataset:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(views, images, CHANNELS, PLACES, PLACES, generator=draw)
    return held(inputs, torch.randint(2, (images,), generator=draw))


def noisy() -> dict[str, CachedDataset]:
    return {"train": noise(48, 0, views=2), "validation": noise(32, 1)}


def bright_cells(images: int, seed: int) -> CachedDataset:
    """vgg11's maps at 64 px where the bright cell is the class; channel averages say nothing."""
    kinds, at = torch.arange(images) % 2, torch.arange(images)
    inputs = torch.randn(1, images, 512, 2, 2, generator=torch.Generator().manual_seed(seed))
    inputs[0, at, :64, kinds, 0] += 4
    return held(inputs - inputs.mean(dim=(3, 4), keepdim=True), kinds)


def search(features, first=None, make=make_head, *, seed=0, vary=()):
    """(HeadTried…, HeadChosen, the best Candidate)."""
    trials = try_heads(first or candidate(), 0.1, features, make, seed=seed, vary=vary)
    events, (best, chosen) = drained(trials)
    assert events[-1] is chosen
    return events[:-1], chosen, best


@pytest.fixture
def scripted(monkeypatch):
    """Nothing is trained: `gain` says how much better than PLAIN each candidate is; one that is
    better at all is `right` about every image, others about every second."""

    def script(gain=lambda candidate: 0, right=True):
        def judged(c, gained=0):
            hits = (torch.arange(IMAGES) % 2 == 0) | (right and gained > 0)
            found = validation(PLAIN - gained * (1 - SPREAD), hits)
            return _trial(c, make_head(c.head), found, 0.0)

        linear = candidate("avg", 0.0, learning_rate=1e-4)
        monkeypatch.setattr(head_search, "_linear_trial", lambda *_: judged(linear))
        monkeypatch.setattr(head_search, "_try", lambda c, *_: judged(c, gain(c)))

    return script


def test_a_trial_learns_from_a_sample_of_all_views_and_is_judged_on_plain_ones():
    """Image `i` has value `i` everywhere, 0.25 more with each view."""
    images, views, seen = 3_001, 3, {True: [], False: []}
    values = torch.arange(images) + 0.25 * torch.arange(views)[:, None]
    data = held(values.reshape(views, images, 1, 1, 1), torch.arange(images) % 2)

    class Watched(Head):
        def scores(self, pooled):
            seen[self.training].append(pooled[:, 0])
            return super().scores(pooled)

    features = {"train": data, "validation": data}
    trials = try_heads(
        candidate(), 0.1, features, lambda settings: Watched(settings, 1, 1, 2), seed=0
    )
    next(trials), next(trials)
    epoch, judged = torch.cat(seen[True])[: TRIAL_VIEWS // views], torch.cat(seen[False])
    assert len(set(epoch.long().tolist())) == TRIAL_VIEWS // views, "each image once in an epoch"
    assert set((epoch % 1).tolist()) == {0, 0.25, 0.5} and set((judged % 1).tolist()) == {0}
    assert {len(batch) for batch in seen[False]} == {TRIAL_VALIDATION_IMAGES}


def test_where_only_places_tell_the_classes_apart_a_flattened_head_wins():
    features = {"train": bright_cells(64, 0), "validation": bright_cells(32, 1)}
    make = partial(build_head, tiny_network().features, image_size=64, classes=2, seed=0)
    events, chosen, best = search(features, candidate("avg"), make)
    assert chosen.head == best.head.name and chosen.head.startswith("flatten")
    assert next(row for row in chosen.tried if row["chosen"])["validation_accuracy"] > 0.9
    assert all(e.validation_accuracy < 0.8 for e in events if e.head.startswith("avg"))
    assert "beat the linear classifier" in chosen.why


@pytest.mark.parametrize(("gain", "right"), [(0.0, False), (1.0, False), (1.0, True)])
def test_a_head_must_beat_the_fit_and_be_right_more_often(scripted, gain, right):
    scripted(lambda c: gain if c.head.name == "avg-512" else 0, right)
    events, chosen, best = search(noisy())
    assert events[0].head == "avg" and events[0].learning_rate < events[1].learning_rate
    assert best.head.name == ("avg-512" if right else "avg")
    assert best.head == LINEAR_HEAD or right
    (row,) = (row for row in chosen.tried if row["chosen"])
    assert row["head"] == chosen.head == best.head.name


def test_few_images_are_judged_out_of_fold_and_a_rare_class_is_in_every_sample():
    """Of 5,000 images one class has 20; 62 validation images are too few to decide."""
    labels = torch.arange(5_000) % 250 == 0
    data = held(torch.randn(1, 5_000, 4, 1, 1), labels.long())
    few = held(torch.randn(1, 62, 4, 1, 1), torch.arange(62) % 2)
    sampled = head_search._trial_data({"train": data, "validation": few}, 0, None)
    assert len(sampled.labels) == TRIAL_VIEWS + 62 and sampled.labels[:TRIAL_VIEWS].sum() == 16
    judged = torch.cat([rows for _, rows in sampled.folds])
    assert sorted(judged.tolist()) == list(range(TRIAL_VIEWS + 62))
    assert all(not set(a.tolist()) & set(b.tolist()) for a, b in sampled.folds)


def test_each_round_varies_the_best_head_so_far(scripted):
    good = ("flatten-256", 0.3, 3e-3)
    scripted(
        lambda c: sum(v in good for v in (c.head.name, c.head.dropout, c.warm_up.learning_rate))
    )
    events, _, best = search(noisy(), vary=BOTH)
    shapes = [head.name for head in head_shapes(2) if head.name != "avg-256"]
    assert [(e.head, e.dropout, e.learning_rate, e.optimizer) for e in events] == [
        ("avg", 0.0, 1e-4, "adamw"),
        ("avg-256", 0.5, 1e-3, "adamw"),
        *((name, 0.5, 1e-3, "adamw") for name in shapes),
        ("flatten-256", 0.3, 1e-3, "adamw"),
        ("flatten-256", 0.7, 1e-3, "adamw"),
        ("flatten-256", 0.3, 3e-3, "adamw"),
        ("flatten-256", 0.3, 5e-2, "sgd"),
    ]
    assert len(events) == heads_tried(2), "as the forecast counts them"
    assert best == candidate("flatten-256", 0.3, learning_rate=3e-3)


def test_rates_and_optimizers_are_varied_only_if_they_may_be(scripted):
    scripted()
    for vary, rates in [((), [1e-3]), (BOTH[:1], HEAD_LEARNING_RATES)]:
        events, _, _ = search(noisy(), vary=vary)
        assert {e.learning_rate for e in events[1:]} == set(rates)
        assert {e.optimizer for e in events} == {"adamw"}


@pytest.mark.parametrize("more", [0, 1])
def test_a_large_map_is_not_flattened(scripted, more):
    scripted()
    inputs = torch.zeros(1, 2, LARGEST_FLATTENED // 4 + more, 2, 2)
    features = dict.fromkeys(("train", "validation"), held(inputs, [0, 1]))
    events, _, _ = search(features)
    shapes = {head.name for head in head_shapes(2)}
    small = {name for name in shapes if not name.startswith("flatten")}
    assert {event.head for event in events[1:]} == (small if more else shapes)


def test_the_same_seed_gives_the_same_table_of_all_heads_and_leaves_the_generator_alone():
    def table(seed: int, others: int) -> list[dict]:
        torch.manual_seed(others)
        before = torch.get_rng_state()
        features = noisy() | {"test": None}  # test images take no part
        events, chosen, best = search(features, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        (row,) = (row for row in chosen.tried if row["chosen"])
        assert (row["head"], row["dropout"]) == (best.head.name, best.head.dropout)
        for event, entry in zip(events, chosen.tried, strict=True):
            assert dataclasses.asdict(event) == {k: entry[k] for k in entry if k != "chosen"}
        return [row | {"seconds": 0.0} for row in chosen.tried]

    assert table(0, 5) == table(0, 6) != table(1, 5)
