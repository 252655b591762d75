import dataclasses
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from scipy import stats
from torch.nn.functional import cross_entropy

from tests.tiny import drained, held, tiny_network
from transfer.events import HeadChosen, HeadTried
from transfer.features.cached_dataset import CachedDataset
from transfer.model.vgg import Head, build_head, parameter_count
from transfer.settings import HeadSettings, PhaseSettings
from transfer.training import head_search
from transfer.training.defaults import (
    HEAD_LEARNING_RATES,
    HEAD_OPTIMIZERS,
    HEAD_SHAPES,
    TRIAL_BATCH_SIZE,
    TRIAL_VIEWS,
)
from transfer.training.forecast import HEADS_TRIED
from transfer.training.head_search import (
    LARGEST_FLATTENED,
    TRIAL_VALIDATION_IMAGES,
    Candidate,
    Trial,
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


@pytest.fixture(autouse=True)
def one_thread():
    """On matrices this small, threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Watched(Head):
    """Records (training, pooled, logits) of every batch."""

    def __init__(self, *shape):
        super().__init__(*shape)
        self.seen = []

    def scores(self, pooled: torch.Tensor) -> torch.Tensor:
        logits = super().scores(pooled)
        self.seen.append((self.training, pooled, logits.detach()))
        return logits

    def batches(self, *, training: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [(pooled, logits) for mode, pooled, logits in self.seen if mode == training]


def make_head(settings: HeadSettings, kind: type[Head] = Head) -> Head:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(settings, CHANNELS, PLACES, 2)


def maps(values: torch.Tensor) -> torch.Tensor:
    """(V, N) → features (V, N, C, H, W) with that value everywhere."""
    return values.float()[..., None, None, None].expand(*values.shape, CHANNELS, PLACES, PLACES)


def noise(images: int, seed: int, views: int = 1) -> CachedDataset:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(views, images, CHANNELS, PLACES, PLACES, generator=draw)
    return held(inputs, torch.randint(2, (images,), generator=draw))


def weak(images: int, seed: int) -> CachedDataset:
    """Learned in a few epochs, before the noise is memorised."""
    cached = noise(images, seed)
    return replace(cached, inputs=cached.inputs + maps(cached.labels[None] * 0.8))


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
    trials = try_heads(first or candidate(), features, make, seed=seed, vary=vary)
    events, (best, chosen) = drained(trials)
    assert events[-1] is chosen
    return events[:-1], chosen, best


def watched(features, first: Candidate | None = None) -> tuple[Watched, HeadTried]:
    """The first head, which was watched, and its row."""
    heads = []

    def make(settings: HeadSettings) -> Head:
        heads.append(make_head(settings, kind=Watched))
        return heads[-1]

    row = next(try_heads(first or candidate(), features, make, seed=0))
    return heads[0], row


def better(p: float) -> torch.Tensor:
    """Losses that a one-sided paired t-test finds lower than PLAIN with exactly this p-value."""
    pattern = torch.linspace(-1, 1, IMAGES, dtype=torch.float64)
    t = stats.t.isf(p, IMAGES - 1)
    return (PLAIN - 0.01 * (pattern / pattern.std() + t / math.sqrt(IMAGES))).float()


def trial(losses: torch.Tensor, of: Candidate | None = None) -> Trial:
    of = of or candidate()
    row = {
        "head": of.head.name,
        "dropout": of.head.dropout,
        "learning_rate": of.warm_up.learning_rate,
        "optimizer": of.warm_up.optimizer,
        "parameters": 1,
        "validation_loss": losses.mean().item(),
        "validation_accuracy": 0.5,
        "seconds": 0.0,
    }
    return Trial(candidate=of, losses=losses, row=row)


@pytest.fixture
def scripted(monkeypatch):
    """Nothing is trained: a function gives the validation losses of every candidate."""

    def script(losses: Callable[[Candidate], torch.Tensor] = lambda _: PLAIN) -> None:
        monkeypatch.setattr(
            head_search, "_try", lambda candidate, *_: trial(losses(candidate), candidate)
        )

    return script


def ways(events: list[HeadTried]) -> list[tuple]:
    return [(e.head, e.dropout, e.learning_rate, e.optimizer) for e in events]


def test_on_noise_the_first_head_stays():
    features = {"train": noise(96, 1), "validation": noise(64, 101)}
    events, chosen, best = search(features)
    assert min(events, key=lambda event: event.validation_loss) != events[0]
    assert (chosen.head, best) == ("avg-256", candidate())
    assert chosen.tried[0]["chosen"] and "no other" in chosen.why


def test_where_only_places_tell_the_classes_apart_a_flattened_head_wins():
    features = {"train": bright_cells(64, 0), "validation": bright_cells(32, 1)}
    make = partial(build_head, tiny_network().features, image_size=64, classes=2, seed=0)
    events, chosen, best = search(features, candidate("avg"), make)
    assert chosen.head == best.head.name and chosen.head.startswith("flatten")
    assert next(row for row in chosen.tried if row["chosen"])["validation_accuracy"] > 0.9
    assert all(e.validation_accuracy < 0.8 for e in events if e.head.startswith("avg"))
    assert "lower by more than chance" in chosen.why


@pytest.mark.parametrize("challengers", [1, 5])
@pytest.mark.parametrize("p", [0.0095, 0.0105, 0.04, 0.06, 0.999])
def test_the_significance_level_is_divided_by_the_challengers(p, challengers):
    found = stats.ttest_rel(PLAIN, better(p), alternative="greater").pvalue
    assert found == pytest.approx(p, rel=0.01)
    assert trial(better(p)).beats(trial(PLAIN), challengers) is (p < 0.05 / challengers)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_losses_that_are_equal_single_or_not_finite_decide_nothing():
    lost = torch.full_like(PLAIN, torch.nan)
    pairs = [(lost, PLAIN), (PLAIN, lost), (PLAIN, PLAIN.clone())]
    pairs.append((torch.tensor([0.1]), torch.tensor([0.9])))
    assert not any(trial(ours).beats(trial(theirs), 1) for ours, theirs in pairs)


@pytest.mark.parametrize(
    ("only", "challengers"),
    [
        (candidate("flatten"), 5),
        (candidate(dropout=0.3), 2),
        (candidate(learning_rate=3e-4), 2),
        (candidate(optimizer="sgd", learning_rate=3e-2), 1),
    ],
    ids=["shape", "dropout", "rate", "optimizer"],
)
@pytest.mark.parametrize("share", [0.95, 1.05])
def test_challengers_are_those_of_the_same_round(scripted, only, challengers, share):
    scripted(lambda c: better(0.05 / challengers * share) if c == only else PLAIN)
    _, _, best = search(noisy(), vary=BOTH)
    assert best == (only if share < 1 else candidate())


def test_each_round_varies_the_best_head_so_far(scripted):
    def losses(c: Candidate) -> torch.Tensor:
        gain = (
            (c.head.name == "flatten") + (c.head.dropout == 0.3) + (c.warm_up.learning_rate == 3e-3)
        )
        return PLAIN - gain + gain * SPREAD

    scripted(losses)
    events, _, best = search(noisy(), vary=BOTH)
    shapes = [name for name in HEAD_SHAPES if name != "avg-256"]
    assert ways(events) == [
        ("avg-256", 0.5, 1e-3, "adamw"),
        *((name, 0.5, 1e-3, "adamw") for name in shapes),
        ("flatten", 0.3, 1e-3, "adamw"),
        ("flatten", 0.7, 1e-3, "adamw"),
        ("flatten", 0.3, 3e-4, "adamw"),
        ("flatten", 0.3, 3e-3, "adamw"),
        ("flatten", 0.3, 3e-2, "sgd"),
    ]
    assert len(events) == HEADS_TRIED, "as the forecast counts them"
    assert best == candidate("flatten", 0.3, learning_rate=3e-3)


@pytest.mark.parametrize("vary", [(), ("learning_rate",), BOTH], ids=str)
def test_rates_and_optimizers_are_varied_only_if_they_may_be(scripted, vary):
    scripted()
    events, _, _ = search(noisy(), vary=vary)
    expected = {("adamw", rate) for rate in (HEAD_LEARNING_RATES if vary else [1e-3])}
    expected |= set(HEAD_OPTIMIZERS.items() if "optimizer" in vary else [])
    assert {(event.optimizer, event.learning_rate) for event in events} == expected


@pytest.mark.parametrize("first", ["avg-256", "flatten-256"])
@pytest.mark.parametrize("more", [0, 1])
def test_a_large_map_is_flattened_only_if_the_first_head_does_so(scripted, first, more):
    scripted()
    inputs = torch.zeros(1, 2, LARGEST_FLATTENED // 4 + more, 2, 2)
    features = dict.fromkeys(("train", "validation"), held(inputs, [0, 1]))
    events, _, _ = search(features, candidate(first), lambda _: None)
    small = [name for name in HEAD_SHAPES if not name.startswith("flatten")]
    assert {event.head for event in events} == {first, *(small if more else HEAD_SHAPES)}


def test_the_table_has_a_row_for_each_head_and_one_is_chosen():
    events, chosen, best = search(noisy() | {"test": None}, vary=BOTH)  # test takes no part
    fields = {field.name for field in dataclasses.fields(HeadTried)}
    assert all(row.keys() == fields | {"chosen"} for row in chosen.tried)
    plain = [{k: v for k, v in row.items() if k != "chosen"} for row in chosen.tried]
    assert plain == [dataclasses.asdict(event) for event in events]
    (row,) = (row for row in chosen.tried if row["chosen"])
    way = (best.head.name, best.head.dropout, best.warm_up.learning_rate, best.warm_up.optimizer)
    assert tuple(row[k] for k in ("head", "dropout", "learning_rate", "optimizer")) == way
    assert chosen.head == row["head"]
    assert 0 <= sum(row["seconds"] for row in chosen.tried) <= chosen.seconds
    for event in events:
        settings = replace(HeadSettings.named(event.head), dropout=0.5)
        assert parameter_count(make_head(settings)) == event.parameters


def test_the_same_seed_gives_the_same_table_and_leaves_the_generator_alone():
    def table(seed: int, others: int) -> list[dict]:
        torch.manual_seed(others)
        before = torch.get_rng_state()
        chosen: HeadChosen = search(noisy(), seed=seed)[1]
        assert torch.equal(torch.get_rng_state(), before)
        return [{k: v for k, v in row.items() if k != "seconds"} for row in chosen.tried]

    assert table(0, 5) == table(0, 6) != table(1, 5)


def numbered(images: int, views: int) -> CachedDataset:
    """Image `i` is in row 2i + 1 and has value `i` everywhere, 0.25 more with each view."""
    numbers = torch.arange(images) + 0.25 * torch.arange(views)[:, None]
    inputs = torch.full((views, 2 * images + 1, 1, 1, 1), torch.nan)
    rows = 2 * torch.arange(images) + 1
    inputs[:, rows] = numbers[..., None, None, None]
    return held(inputs, torch.arange(images), rows=rows)


def sampled(monkeypatch, train: CachedDataset, validation: CachedDataset) -> list[tuple]:
    """(features, labels) of training and of validation as the first head gets them."""
    given = []

    def watch(candidate, head, data, seed):
        given.extend([data.train, data.validation])
        return trial(PLAIN, candidate)

    monkeypatch.setattr(head_search, "_try", watch)
    next(try_heads(candidate(), {"train": train, "validation": validation}, lambda _: None, seed=0))
    return given


@pytest.mark.parametrize("views", [1, 3])
def test_of_large_datasets_a_bounded_sample_is_drawn(monkeypatch, views):
    sets = numbered(9_001, views), numbered(2_501, 1)
    most = TRIAL_VIEWS // views, TRIAL_VALIDATION_IMAGES
    for (inputs, labels), cached, images in zip(
        sampled(monkeypatch, *sets), sets, most, strict=True
    ):
        assert inputs.shape == (cached.views, images, 1, 1, 1)
        assert (labels.diff() > 0).all() and len(set((labels % 8).tolist())) == 8
        assert abs((labels < len(cached) / 2).float().mean() - 0.5) < 0.05
        for view in range(cached.views):
            assert torch.equal(inputs[view].flatten(), labels + 0.25 * view)


def test_all_views_are_trained_on_and_only_the_plain_one_is_judged():
    numbers = torch.arange(50) + 100 * torch.arange(3)[:, None]
    train = held(maps(numbers), torch.arange(50) % 2)
    validation = held(maps(1000 + numbers[:2, :9]), torch.arange(9) % 2)
    head, _ = watched({"train": train, "validation": validation})
    batches = [pooled[:, 0] for pooled, _ in head.batches(training=True)]
    assert {len(batch) for batch in batches} == {TRIAL_BATCH_SIZE, 50 - TRIAL_BATCH_SIZE}
    assert set(torch.cat(batches).div(100, rounding_mode="floor").tolist()) == {0, 1, 2}
    for epoch in torch.cat(batches).split(50):
        assert sorted((epoch % 100).tolist()) == list(range(50))
    for pooled, _ in head.batches(training=False):
        assert pooled[:, 0].tolist() == list(range(1000, 1009))


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


def test_a_head_learns_with_its_candidates_optimizer(monkeypatch):
    made, make_optimizer = [], head_search.make_optimizer

    def watch(name: str, groups: list[dict], weight_decay: float):
        made.append((name, groups[0]["lr"], weight_decay))
        return make_optimizer(name, groups, weight_decay)

    monkeypatch.setattr(head_search, "make_optimizer", watch)
    events, _, _ = search(noisy(), candidate(weight_decay=0.3), vary=BOTH)
    assert made == [(event.optimizer, event.learning_rate, 0.3) for event in events]
    assert len(set(made)) == 1 + 2 + 1


def test_class_weights_count_in_every_loss():
    labels = torch.arange(40) % 4 == 0
    numbers = torch.randn(1, 40, CHANNELS, 1, 1, generator=torch.Generator().manual_seed(0))
    data = {name: held(numbers, labels.long()) for name in ("train", "validation")}
    losses = [
        next(try_heads(candidate("avg"), data, make_head, seed=0, class_weights=weights))
        for weights in (None, torch.ones(2), torch.tensor([0.1, 3.7]))
    ]
    plain, equal, weighted = (row.validation_loss for row in losses)
    assert plain == pytest.approx(equal, rel=1e-4) and abs(weighted - plain) > 0.1
