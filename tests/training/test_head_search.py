import dataclasses
import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import cross_entropy

from tests.tiny import drained, held, tiny_network
from transfer.events import HeadChosen, HeadTried
from transfer.features.cached_dataset import CachedDataset
from transfer.model.vgg import Head, build_head, parameter_count
from transfer.settings import HeadSettings
from transfer.training import head_search as search
from transfer.training.head_search import (
    DROPOUTS,
    FEWEST_EPOCHS,
    IMAGES_A_BATCH,
    LEARNING_RATES,
    MOST_TRAINING_VIEWS,
    MOST_VALIDATION_IMAGES,
    OTHER_OPTIMIZERS,
    SHAPES,
    WIDEST,
    Candidate,
    _Trial,
    try_heads,
)

CHANNELS, PLACES = 4, 2
IMAGES = 20
# a hard image is hard for every head: only its pair tells which head is better
PLAIN = torch.randn(IMAGES, generator=torch.Generator().manual_seed(0)).exp()


def candidate(name: str = "avg-256", dropout: float = 0.5, **change) -> Candidate:
    known = {"learning_rate": 1e-3, "optimizer": "adamw", "weight_decay": 0.01, "epochs": 10}
    head = replace(HeadSettings.named(name), dropout=dropout)
    return Candidate(**{"head": head} | known | change)


@pytest.fixture(autouse=True)
def one_thread():
    """On matrices this small, threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Watched(Head):
    """Keeps (training, pooled, logits) of every batch."""

    def __init__(self, *shape):
        super().__init__(*shape)
        self.seen = []

    def scores(self, pooled: torch.Tensor) -> torch.Tensor:
        logits = super().scores(pooled)
        self.seen.append((self.training, pooled, logits.detach()))
        return logits

    def batches(self, *, training: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(pooled, logits) for mode, pooled, logits in self.seen if mode == training]


class Untouchable:
    def __getattr__(self, name: str):
        raise AssertionError(f"{name} of what takes no part")

    def __len__(self) -> int:
        raise AssertionError("the length of what takes no part")

    def __getitem__(self, at):
        raise AssertionError("rows of what takes no part")


def make_head(settings: HeadSettings, kind: type[Head] = Head) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(settings, CHANNELS, PLACES, 2)


def maps(values: torch.Tensor) -> torch.Tensor:
    """(V, N) → features (V, N, C, H, W) which are that value everywhere."""
    return values.float()[..., None, None, None].expand(*values.shape, CHANNELS, PLACES, PLACES)


def noise(images: int, seed: int, views: int = 1) -> CachedDataset:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(views, images, CHANNELS, PLACES, PLACES, generator=draw)
    return held(inputs, torch.randint(2, (images,), generator=draw))


def weak(images: int, seed: int) -> CachedDataset:
    """What is learned in a few epochs, before the noise is learned by heart."""
    cached = noise(images, seed)
    return replace(cached, inputs=cached.inputs + maps(cached.labels[None] * 0.8))


def noisy() -> dict[str, CachedDataset]:
    return {"train": noise(48, 0, views=2), "validation": noise(32, 1)}


def bright_cells(images: int, seed: int) -> CachedDataset:
    """vgg11's maps at 64 px whose bright cell is the class; no channel's average tells anything."""
    kinds, at = torch.arange(images) % 2, torch.arange(images)
    inputs = torch.randn(1, images, 512, 2, 2, generator=torch.Generator().manual_seed(seed))
    inputs[0, at, :64, kinds, 0] += 4
    return held(inputs - inputs.mean(dim=(3, 4), keepdim=True), kinds)


def tried(
    features: dict[str, CachedDataset],
    first: Candidate | None = None,
    make: Callable[[HeadSettings], Head] = make_head,
    *,
    seed: int = 0,
    rates: bool = False,
    optimizers: bool = False,
) -> tuple[list[HeadTried], HeadChosen, Candidate]:
    first = first or candidate()
    trials = try_heads(first, features, make, seed=seed, rates=rates, optimizers=optimizers)
    events, best = drained(trials)
    return events[:-1], events[-1], best


def watched(features: dict[str, CachedDataset], first: Candidate | None = None):
    """(the first head, which was watched, and its row)."""
    heads = []

    def make(settings: HeadSettings) -> Head:
        heads.append(make_head(settings, kind=Watched))
        return heads[-1]

    trials = try_heads(first or candidate(), features, make, seed=0, rates=False, optimizers=False)
    row = next(trials)
    return heads[0], row


def better(p: float) -> torch.Tensor:
    """Losses that a one-sided paired t-test finds lower than PLAIN with exactly this p-value."""
    pattern = torch.linspace(-1, 1, IMAGES, dtype=torch.float64)
    t = stats.t.isf(p, IMAGES - 1)
    return (PLAIN - 0.01 * (pattern / pattern.std() + t / math.sqrt(IMAGES))).float()


def trial(losses: torch.Tensor, of: Candidate | None = None) -> _Trial:
    of = of or candidate()
    row = {
        "head": of.head.name,
        "dropout": of.head.dropout,
        "learning_rate": of.learning_rate,
        "optimizer": of.optimizer,
        "parameters": 1,
        "validation_loss": losses.mean().item(),
        "validation_accuracy": 0.5,
        "seconds": 0.0,
    }
    return _Trial(candidate=of, losses=losses, row=row)


@pytest.fixture
def scripted(monkeypatch):
    """Nothing is trained: a function says the validation losses of every candidate."""

    def script(losses: Callable[[Candidate], torch.Tensor] = lambda _: PLAIN) -> None:
        monkeypatch.setattr(
            search, "_try", lambda candidate, *_, **__: trial(losses(candidate), candidate)
        )

    return script


def ways(events: list[HeadTried]) -> list[tuple]:
    return [(e.head, e.dropout, e.learning_rate, e.optimizer) for e in events]


@pytest.mark.parametrize("seed", range(3))
def test_on_noise_the_first_stays(seed):
    features = {"train": noise(96, seed), "validation": noise(64, 100 + seed)}
    events, chosen, best = tried(features)
    assert min(events, key=lambda event: event.validation_loss) != events[0]
    assert (chosen.head, best) == ("avg-256", candidate())
    assert chosen.tried[0]["chosen"]
    assert "no other" in chosen.why


def test_where_only_places_tell_the_classes_a_flattened_head_wins():
    features = {"train": bright_cells(64, 0), "validation": bright_cells(32, 1)}
    body = tiny_network().features
    make = partial(build_head, body, image_size=64, classes=2, seed=0)
    events, chosen, best = tried(features, candidate("avg"), make)
    assert chosen.head == best.head.name and chosen.head.startswith("flatten")
    assert next(row for row in chosen.tried if row["chosen"])["validation_accuracy"] > 0.9
    assert all(e.validation_accuracy < 0.8 for e in events if e.head.startswith("avg"))
    assert "lower by more than chance" in chosen.why


@pytest.mark.parametrize("rivals", range(1, 7))
@pytest.mark.parametrize("p", [0.001, 0.0095, 0.0105, 0.015, 0.02, 0.04, 0.06, 0.3, 0.7, 0.999])
def test_the_level_of_a_paired_t_test_is_shared_among_rivals(p, rivals):
    found = stats.ttest_rel(PLAIN, better(p), alternative="greater").pvalue
    assert found == pytest.approx(p, rel=0.01)
    assert trial(better(p)).beats(trial(PLAIN), rivals) is (p < 0.05 / rivals)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("broken", ["self", "other"])
def test_a_head_whose_loss_is_not_finite_neither_beats_nor_is_beaten(broken):
    lost = torch.full_like(PLAIN, torch.nan)
    ours, theirs = (lost, PLAIN) if broken == "self" else (PLAIN, lost)
    assert not trial(ours).beats(trial(theirs), 1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_equal_losses_or_a_single_image_decide_nothing():
    assert not trial(PLAIN).beats(trial(PLAIN.clone()), 1)
    assert not trial(torch.tensor([0.1])).beats(trial(torch.tensor([0.9])), 1)


FLATTEN = candidate("flatten")
DROPPED = candidate(dropout=0.3)
SLOWER = candidate(learning_rate=3e-4)
SGD = candidate(optimizer="sgd", learning_rate=3e-2)


@pytest.mark.parametrize(
    ("only", "rivals"),
    [(FLATTEN, 5), (DROPPED, 2), (SLOWER, 2), (SGD, 1)],
    ids=["shape", "dropout", "rate", "optimizer"],
)
@pytest.mark.parametrize("share", [0.95, 1.05])
def test_rivals_are_those_of_the_same_round(scripted, only, rivals, share):
    scripted(lambda c: better(0.05 / rivals * share) if c == only else PLAIN)
    _, _, best = tried(noisy(), rates=True, optimizers=True)
    assert best == (only if share < 1 else candidate())


def test_of_several_that_are_better_the_best_is_taken(scripted):
    gains = {"avg": 0.1, "flatten": 0.3, "flatten-256-128": 0.2}
    spread = 0.01 * torch.linspace(-1, 1, IMAGES)
    scripted(lambda c: PLAIN - gains.get(c.head.name, 0) + spread * (c.head.name in gains))
    _, chosen, best = tried(noisy())
    assert chosen.head == best.head.name == "flatten"


def test_each_round_varies_the_best_of_those_before(scripted):
    spread = 0.01 * torch.linspace(-1, 1, IMAGES)

    def losses(c: Candidate) -> torch.Tensor:
        gain = (c.head.name == "flatten") + (c.head.dropout == 0.3) + (c.learning_rate == 3e-3)
        return PLAIN - gain + gain * spread

    scripted(losses)
    events, _, best = tried(noisy(), rates=True, optimizers=True)
    shapes = [name for name in SHAPES if name != "avg-256"]
    assert ways(events) == [
        ("avg-256", 0.5, 1e-3, "adamw"),
        *((name, 0.5, 1e-3, "adamw") for name in shapes),
        ("flatten", 0.3, 1e-3, "adamw"),
        ("flatten", 0.7, 1e-3, "adamw"),
        ("flatten", 0.3, 3e-4, "adamw"),
        ("flatten", 0.3, 3e-3, "adamw"),
        ("flatten", 0.3, 3e-2, "sgd"),
    ]
    assert best == candidate("flatten", 0.3, learning_rate=3e-3)


def test_what_is_not_varied_is_the_first_ones(scripted):
    scripted()
    made = []

    def make(settings: HeadSettings) -> Head:
        made.append(settings)
        return make_head(settings)

    first = candidate("avg-7", 0.65, learning_rate=0.02, optimizer="lamb")
    events, chosen, best = tried(noisy(), first, make)
    assert ways(events) == [
        ("avg-7", 0.65, 0.02, "lamb"),
        *((name, 0.65, 0.02, "lamb") for name in SHAPES),
        *(("avg-7", dropout, 0.02, "lamb") for dropout in DROPOUTS),
    ]
    assert best is first and chosen.head == "avg-7"
    assert [(head.name, head.dropout) for head in made] == [way[:2] for way in ways(events)]


@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize("optimizers", [False, True])
def test_rates_and_optimizers_are_varied_only_where_they_may_be(scripted, rates, optimizers):
    scripted()
    events, _, _ = tried(noisy(), rates=rates, optimizers=optimizers)
    wanted = {("adamw", rate) for rate in (LEARNING_RATES if rates else [1e-3])}
    wanted |= set(OTHER_OPTIMIZERS.items() if optimizers else [])
    assert {(event.optimizer, event.learning_rate) for event in events} == wanted


@pytest.mark.parametrize("first", ["avg-256", "flatten-256"])
@pytest.mark.parametrize("more", [0, 1])
def test_a_wide_map_is_not_flattened_unless_that_comes_first(scripted, first, more):
    scripted()
    inputs = torch.zeros(1, 2, WIDEST // 4 + more, 2, 2)
    features = dict.fromkeys(("train", "validation"), held(inputs, [0, 1]))
    events, _, _ = tried(features, candidate(first), lambda _: None)
    small = [name for name in SHAPES if not name.startswith("flatten")]
    assert {event.head for event in events} == {first, *(small if more else SHAPES)}


def test_test_images_take_no_part():
    nothing = Untouchable()
    test = CachedDataset(inputs=nothing, rows=nothing, labels=nothing, names=())
    plain, with_test = noisy(), noisy() | {"test": test}
    losses = [
        [event.validation_loss for event in tried(features, rates=True, optimizers=True)[0]]
        for features in (plain, with_test)
    ]
    assert losses[0] == losses[1]


def test_the_table_has_a_row_a_head_and_one_is_chosen():
    events, chosen, best = tried(noisy(), rates=True, optimizers=True)
    assert {type(event) for event in events} == {HeadTried}
    fields = {field.name for field in dataclasses.fields(HeadTried)}
    assert all(row.keys() == fields | {"chosen"} for row in chosen.tried)
    plain = [{k: v for k, v in row.items() if k != "chosen"} for row in chosen.tried]
    assert plain == [dataclasses.asdict(event) for event in events]
    (row,) = (row for row in chosen.tried if row["chosen"])
    way = (best.head.name, best.head.dropout, best.learning_rate, best.optimizer)
    assert tuple(row[k] for k in ("head", "dropout", "learning_rate", "optimizer")) == way
    assert chosen.head == row["head"]
    assert 0 <= sum(row["seconds"] for row in chosen.tried) <= chosen.seconds


def test_every_name_in_the_table_can_be_asked_for():
    events, _, _ = tried(noisy())
    for event in events:
        settings = HeadSettings.named(event.head)
        assert settings.name == event.head
        assert parameter_count(make_head(replace(settings, dropout=0.5))) == event.parameters
    assert {event.head for event in events} == set(SHAPES)


def test_nothing_is_trained_before_it_is_asked_for():
    made = []

    def make(settings: HeadSettings) -> Head:
        made.append(settings.name)
        return make_head(settings)

    trials = try_heads(candidate(), noisy(), make, seed=0, rates=True, optimizers=True)
    assert made == []
    next(trials)
    trials.close()
    assert made == ["avg-256"]


def without_seconds(chosen: HeadChosen) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in chosen.tried]


def test_the_same_seed_gives_the_same_table():
    tables = []
    for seed, others in ((0, 5), (0, 6), (1, 5)):
        torch.manual_seed(others)
        tables.append(without_seconds(tried(noisy(), seed=seed)[1]))
    assert tables[0] == tables[1] != tables[2]


def test_others_random_numbers_are_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()
    tried(noisy(), rates=True, optimizers=True)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (repr(np.random.get_state()), random.getstate()) == before[1:]


def numbered(images: int, views: int) -> CachedDataset:
    """Image `i` stands in row 2i + 1 and is `i` everywhere, 0.25 more with each view."""
    numbers = torch.arange(images) + 0.25 * torch.arange(views)[:, None]
    inputs = torch.full((views, 2 * images + 1, 1, 1, 1), torch.nan)
    rows = 2 * torch.arange(images) + 1
    inputs[:, rows] = numbers[..., None, None, None]
    return held(inputs, torch.arange(images), rows=rows)


def sampled(monkeypatch, train: CachedDataset, validation: CachedDataset) -> list[tuple]:
    """(features, labels) of training and of validation as the first head gets them."""
    given = []

    def watch(candidate, head, train, held_out, **_):
        given.extend([train, held_out])
        return trial(PLAIN, candidate)

    monkeypatch.setattr(search, "_try", watch)
    next(
        try_heads(
            candidate(),
            {"train": train, "validation": validation},
            lambda _: None,
            seed=0,
            rates=False,
            optimizers=False,
        )
    )
    return given


@pytest.mark.parametrize("views", [1, 3])
def test_of_large_sets_a_bounded_number_is_drawn(monkeypatch, views):
    sets = numbered(9_001, views), numbered(2_501, 1)
    found = sampled(monkeypatch, *sets)
    most = MOST_TRAINING_VIEWS // views, MOST_VALIDATION_IMAGES
    for (inputs, labels), cached, images in zip(found, sets, most, strict=True):
        assert inputs.shape == (cached.views, images, 1, 1, 1)
        assert (labels.diff() > 0).all() and len(set((labels % 8).tolist())) == 8
        assert abs((labels < len(cached) / 2).float().mean() - 0.5) < 0.05
        for view in range(cached.views):
            assert torch.equal(inputs[view].flatten(), labels + 0.25 * view)


def test_of_small_sets_every_image_and_view_is_taken(monkeypatch):
    sets = numbered(40, 3), numbered(7, 1)
    found = sampled(monkeypatch, *sets)
    for (inputs, labels), cached in zip(found, sets, strict=True):
        assert labels.tolist() == list(range(len(cached)))
        assert torch.equal(inputs, cached.inputs[:, cached.rows])


def test_all_views_are_trained_on_and_only_the_plain_one_is_judged():
    numbers = torch.arange(50) + 100 * torch.arange(3)[:, None]
    train = held(maps(numbers), torch.arange(50) % 2)
    validation = held(maps(1000 + numbers[:2, :9]), torch.arange(9) % 2)
    head, _ = watched({"train": train, "validation": validation})
    batches = [pooled[:, 0] for pooled, _ in head.batches(training=True)]
    assert {len(batch) for batch in batches} == {IMAGES_A_BATCH, 50 - IMAGES_A_BATCH}
    assert set(torch.cat(batches).div(100, rounding_mode="floor").tolist()) == {0, 1, 2}
    for epoch in torch.cat(batches).split(50):
        assert sorted((epoch % 100).tolist()) == list(range(50))
    for pooled, _ in head.batches(training=False):
        assert pooled[:, 0].tolist() == list(range(1000, 1009))


def test_what_only_another_view_shows_is_learned():
    kinds = torch.arange(64) % 2
    hidden = torch.stack([torch.zeros(64), 4.0 * kinds - 2])
    train = held(maps(hidden) + noise(64, 0).inputs, kinds)
    validation = held(maps(hidden[1:]) + noise(64, 1).inputs, kinds)
    _, row = watched({"train": train, "validation": validation})
    assert row.validation_accuracy > 0.9


def test_a_head_is_standardised_by_the_plain_views_it_learns_from():
    features = noisy()
    head, _ = watched(features)
    pooled = features["train"].inputs[0].mean(dim=(2, 3))
    assert torch.allclose(head.mean, pooled.mean(0), atol=1e-5)


def test_features_of_half_precision_are_tried_in_full():
    features = {
        name: replace(cached, inputs=cached.inputs.bfloat16()) for name, cached in noisy().items()
    }
    head, row = watched(features)
    assert {pooled.dtype for _, pooled, _ in head.seen} == {torch.float32}
    assert math.isfinite(row.validation_loss)


@pytest.mark.parametrize(("epochs", "wanted"), [(0, FEWEST_EPOCHS), (10, 12), (40, 20)])
def test_a_trial_is_half_as_long_as_a_warm_up_but_not_too_short(epochs, wanted):
    head, _ = watched(noisy(), candidate(epochs=epochs))
    assert len(head.batches(training=False)) == wanted


def test_a_head_is_judged_at_its_best_epoch():
    features = {"train": weak(48, 0), "validation": weak(32, 1)}
    head, row = watched(features, candidate(learning_rate=3e-2))
    labels = features["validation"].labels
    logits = [logits for _, logits in head.batches(training=False)]
    losses = [cross_entropy(scores, labels).item() for scores in logits]
    best = min(range(len(losses)), key=losses.__getitem__)
    assert 0 < best < len(losses) - 1
    assert row.validation_loss == pytest.approx(losses[best])
    hits = logits[best].argmax(1) == labels
    assert row.validation_accuracy == pytest.approx(hits.float().mean().item())


def test_a_head_learns_as_its_candidate_says(monkeypatch):
    made, make_optimizer = [], search.make_optimizer

    def watch(name: str, groups: list[dict], weight_decay: float):
        made.append((name, groups[0]["lr"], weight_decay))
        assert len(groups) == 1
        return make_optimizer(name, groups, weight_decay)

    monkeypatch.setattr(search, "make_optimizer", watch)
    events, _, _ = tried(noisy(), candidate(weight_decay=0.3), rates=True, optimizers=True)
    assert made == [(event.optimizer, event.learning_rate, 0.3) for event in events]
    assert len(set(made)) == 1 + 2 + 1


def test_weighed_classes_count_in_every_loss():
    labels = torch.arange(40) % 4 == 0
    numbers = torch.randn(1, 40, CHANNELS, 1, 1, generator=torch.Generator().manual_seed(0))
    data = {name: held(numbers, labels.long()) for name in ("train", "validation")}
    losses = []
    for weights in (None, torch.ones(2), torch.tensor([0.1, 3.7])):
        trials = try_heads(
            candidate("avg"),
            data,
            make_head,
            seed=0,
            rates=False,
            optimizers=False,
            class_weights=weights,
        )
        losses.append(next(trials).validation_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert abs(losses[2] - losses[0]) > 0.1
