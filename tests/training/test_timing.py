"""The estimate of how long a training takes: before it starts, from a few steps."""

from contextlib import closing
from types import SimpleNamespace

import pytest
import torch

from tests.tiny import TINY, drained
from transfer import events
from transfer.features import extract
from transfer.model.vgg import Segment
from transfer.settings import PhaseSettings
from transfer.training import loop, preparation, timing
from transfer.training.recipe import training_events

SETTINGS = PhaseSettings(
    epochs=2, learning_rate=1e-5, optimizer="adamw", weight_decay=0.05, batch_size=4
)


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


def test_a_training_takes_as_long_as_estimated(clock, stripes, tmp_path):
    options = {name: TINY[name] for name in ("architecture", "weights", "image_size", "views")}
    options |= {"head": "avg", "precision": "fp32", "warm_up": SETTINGS, "fine_tune": SETTINGS}
    seen, _ = drained(training_events(str(stripes), out=tmp_path / "run", **options))
    estimated = next(event for event in seen if isinstance(event, events.Estimated))
    assert estimated.cached.startswith("the input of block5")
    took = {event.phase: event.seconds for event in seen if isinstance(event, events.PhaseDone)}
    took["cache"] = next(e.seconds for e in seen if isinstance(e, events.CacheFilled))
    del took["features"]
    assert estimated.seconds == pytest.approx(took, rel=0.1)
    assert estimated.seconds["cache"] > 50
    with closing(training_events(str(stripes), out=tmp_path / "again", **options)) as training:
        again = next(event for event in training if isinstance(event, events.Estimated))
    assert again.seconds["cache"] == 0
