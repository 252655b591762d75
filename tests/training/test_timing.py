"""The estimate of how long a training takes: before it starts, from a few steps."""

from contextlib import closing
from types import SimpleNamespace

import pytest
import torch

from tests.tiny import TINY, drained, tiny_network
from transfer import events
from transfer.features import extract
from transfer.features.cached_dataset import CacheLayer
from transfer.model.vgg import Segment
from transfer.settings import PhaseSettings
from transfer.training import loop, preparation, timing
from transfer.training.loop import Phase
from transfer.training.recipe import training_events
from transfer.training.timing import phase_seconds

COUNTS = {"train": 10, "validation": 6, "test": 100}
SETTINGS = PhaseSettings(
    epochs=2, learning_rate=1e-5, optimizer="adamw", weight_decay=0.05, batch_size=4
)


@pytest.mark.parametrize(
    ("processes", "options", "seconds"),
    [
        (1, {}, 2 * (20 + 3 + 5)),
        (2, {}, 2 * ((20 + 3) / 2 + 5)),
        (1, {"interpolate": True}, 2 * (20 + 3 + 5) + 3 * (3 + 5)),
        (1, {"images_at_once": 2}, 2 * (2 * (20 + 3) + 5)),
    ],
)
def test_a_phase_is_all_steps_all_validations_and_the_time_between(
    monkeypatch, processes, options, seconds
):
    """A step of 4 images takes 8 s, validating them 2 s, the time between two epochs 5 s."""
    network = tiny_network()
    phase = Phase(
        name="fine-tune",
        module=Segment(torch.nn.Sequential(network.between("block5", "none"), network.head), None),
        learns=network.freeze_below("block5"),
        groups=network.trainable_groups(1e-3),
        data={},
        settings=SETTINGS,
        seed=0,
        **options,
    )
    layer = CacheLayer(block="block5", row_shape=(512, 2, 2), segment=phase.module)
    accelerator = SimpleNamespace(num_processes=processes, mixed_precision="bf16")
    inputs = []
    monkeypatch.setattr(
        timing, "_seconds_a_step", lambda phase, x, _: inputs.append(x) or (8.0, 2.0, 5.0)
    )
    assert phase_seconds(phase, layer, COUNTS, accelerator) == seconds
    assert inputs[0].shape == (options.get("images_at_once", 4), 512, 2, 2)
    assert inputs[0].dtype == torch.bfloat16 and inputs[0].float().std() > 1


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
    for module in (extract, preparation, timing, loop):
        monkeypatch.setattr(module, "time", watch)


@pytest.mark.parametrize(
    ("limit", "cut"),
    [("1", "the input of block5"), pytest.param("0.00045", "pixels", marks=pytest.mark.full)],
)
def test_a_training_takes_as_long_as_estimated(clock, monkeypatch, stripes, tmp_path, limit, cut):
    monkeypatch.setenv("TRANSFER_CACHE_GB", limit)
    options = {name: TINY[name] for name in ("architecture", "weights", "image_size", "views")}
    options |= {"head": "avg-8", "precision": "fp32", "warm_up": SETTINGS, "fine_tune": SETTINGS}
    seen, _ = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    estimated = next(event for event in seen if isinstance(event, events.Estimated))
    assert estimated.cached.startswith(cut)
    took = {event.phase: event.seconds for event in seen if isinstance(event, events.PhaseDone)}
    took["cache"] = next(e.seconds for e in seen if isinstance(e, events.CacheFilled))
    del took["features"]
    assert estimated.seconds == pytest.approx(took, rel=0.1)
    assert estimated.seconds["cache"] > 50
    with closing(training_events(str(stripes), out=tmp_path / "again", **options)) as training:
        again = next(event for event in training if isinstance(event, events.Estimated))
    assert again.seconds["cache"] == 0
