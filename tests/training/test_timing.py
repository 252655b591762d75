"""The estimate of how long a training takes: before it starts, from a few steps."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.tiny import SIDE, TINY, drained, tiny_network
from transfer import events
from transfer.cache.store import open_store
from transfer.data.source import load_splits
from transfer.data.transform import Transform
from transfer.features import extract
from transfer.features.cached_dataset import CacheLayer, CacheSpec
from transfer.features.plan import Plan
from transfer.model.vgg import Segment
from transfer.settings import PhaseSettings, TrainingSettings
from transfer.training import loop, steps, timing
from transfer.training.accelerator import make_accelerator
from transfer.training.loop import Phase
from transfer.training.recipe import training_events
from transfer.training.timing import cache_seconds, phase_seconds

CPU = torch.device("cpu")
TRANSFORM = Transform(image_size=SIDE)
COUNTS = {"train": 10, "validation": 6, "test": 100}
SETTINGS = PhaseSettings(
    epochs=2, learning_rate=1e-2, optimizer="adamw", weight_decay=0.05, batch_size=4
)


def layer(block: str) -> CacheLayer:
    """Pixels, or what leaves the layers below block5 or all layers of the body."""
    network = tiny_network()
    segment = None if block == "block1" else Segment(network.between("block1", block), TRANSFORM)
    return CacheLayer(block=block, row_shape=network.border_shape(block, SIDE), segment=segment)


def phase(block: str = "block5", settings: PhaseSettings = SETTINGS, **options) -> Phase:
    network = tiny_network()
    return Phase(
        name="fine-tune",
        module=Segment(
            torch.nn.Sequential(network.between(block, "none"), network.head), TRANSFORM
        ),
        learns=network.freeze_below("block5"),
        groups=network.trainable_groups(settings.learning_rate),
        data={},
        settings=settings,
        seed=0,
        **options,
    )


@pytest.fixture
def measured(monkeypatch):
    """The inputs that were measured: a step takes 8 s, a validation 2 s, a copy of weights 5 s."""
    seen = []

    def seconds(_, inputs, __):
        seen.append(inputs)
        return 8.0, 2.0, 5.0

    monkeypatch.setattr(timing, "_seconds_a_step", seconds)
    return seen


def test_a_phase_is_all_steps_all_validations_and_the_time_between(measured):
    one, two = make_accelerator(0, "fp32"), SimpleNamespace(num_processes=2, mixed_precision="no")
    images = 10 * 8 / 4 + 6 * 2 / 4
    assert phase_seconds(phase(), layer("block5"), COUNTS, one) == 2 * (images + 5)
    assert phase_seconds(phase(), layer("block5"), COUNTS, two) == 2 * (images / 2 + 5)
    between = phase_seconds(phase(interpolate=True), layer("block5"), COUNTS, one)
    assert between == 2 * (images + 5) + 3 * (6 * 2 / 4 + 5)
    part = phase_seconds(phase(images_at_once=2), layer("block5"), COUNTS, one)
    assert part == 2 * (2 * images + 5)
    assert [len(inputs) for inputs in measured] == [4, 4, 4, 2]


@pytest.mark.parametrize(
    ("block", "precision", "dtype"),
    [
        ("none", "fp32", torch.float32),
        ("block5", "bf16", torch.bfloat16),
        ("block1", "bf16", torch.uint8),
    ],
)
def test_the_measured_inputs_are_like_those_of_the_phase(measured, block, precision, dtype):
    phase_seconds(phase(block), layer(block), COUNTS, make_accelerator(0, precision))
    (inputs,) = measured
    assert inputs.dtype == dtype and inputs.shape[1:] == layer(block).row_shape
    assert inputs.float().std() > 1


def test_filling_the_cache_takes_what_it_lacks_and_a_full_one_no_time(stripes, monkeypatch):
    """A pass of a test image takes 100 s, of another one 1 s."""
    images, store, accelerator = (
        load_splits(str(stripes), TrainingSettings()),
        open_store(),
        make_accelerator(0, "fp32"),
    )
    spec = CacheSpec(
        transform=TRANSFORM,
        views=2,
        seed=0,
        body="ab" * 32,
        dtype=torch.float32,
        layers=(replace(layer("block1"), cached=False), layer("none")),
    )
    plan = Plan(spec=spec, cut="none", why="", rows_a_batch=4)
    seconds = {"train": 1.0, "test": 100.0}
    monkeypatch.setattr(timing, "seconds_a_pass", lambda *given: seconds[given[3]])
    counts = images.counts()
    expected = 2 * counts["train"] + counts["validation"] + 100 * counts["test"]
    assert cache_seconds(plan, images, store, CPU) == expected
    drained(extract.cache_layers(images, spec, store, accelerator, 8))
    assert cache_seconds(plan, images, store, CPU) == 0


@pytest.fixture
def clock(monkeypatch):
    """Time passes only while layers compute: 1 s per image and layer, 3 s with gradients."""
    now, forward = [0.0], Segment.forward
    computing = (torch.nn.Conv2d, torch.nn.Linear)

    def counted(segment, stored):
        layers = sum(isinstance(layer, computing) for layer in segment.modules())
        now[0] += len(stored) * layers * (3 if torch.is_grad_enabled() else 1)
        return forward(segment, stored)

    watch = SimpleNamespace(monotonic=lambda: now[0], perf_counter=lambda: now[0])
    monkeypatch.setattr(Segment, "forward", counted)
    for module in (extract, steps, timing, loop):
        monkeypatch.setattr(module, "time", watch)


@pytest.mark.parametrize(("limit", "cut"), [("1", "the input of block5"), ("0.00045", "pixels")])
def test_a_training_takes_as_long_as_estimated(clock, monkeypatch, stripes, tmp_path, limit, cut):
    monkeypatch.setenv("TRANSFER_CACHE_GB", limit)
    options = {name: TINY[name] for name in ("architecture", "weights", "image_size", "views")}
    options |= {
        "head": "avg-8",
        "precision": "fp32",
        "warm_up": replace(SETTINGS, batch_size=8),
        "fine_tune": replace(SETTINGS, batch_size=8, epochs=1, learning_rate=1e-5),
    }
    seen, _ = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    estimated = next(event for event in seen if isinstance(event, events.Estimated))
    assert estimated.cached.startswith(cut)
    took = {event.phase: event.seconds for event in seen if isinstance(event, events.PhaseDone)}
    took["cache"] = next(e.seconds for e in seen if isinstance(e, events.CacheFilled))
    del took["features"]
    assert estimated.seconds == pytest.approx(took, rel=0.1)
    assert estimated.seconds["cache"] > 50
