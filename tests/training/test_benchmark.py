import json
from dataclasses import replace

import pytest

from tests.speeds import speed
from transfer.settings import BLOCKS
from transfer.training import benchmark
from transfer.training.benchmark import measure, measure_again
from transfer.training.forecast import known_speed

SLOW = speed(forward=0.02, step=0.01, head_step=0.001)
FAST = speed(forward=0.01, step=0.02, head_step=0.002)


@pytest.fixture
def measured(monkeypatch):
    """A list that grows with each measurement; they give FAST and SLOW in turn."""
    times = []

    def measure():
        times.append(1)
        return (SLOW, FAST)[len(times) % 2]

    monkeypatch.setattr(benchmark, "measure", measure)
    return times


def test_the_quicker_of_each_figure_counts_and_a_few_measurements_are_enough(measured, cache):
    assert known_speed() is None
    assert measure_again() == FAST
    assert measure_again() == known_speed() == replace(FAST, step=0.01, head_step=0.001, times=2)
    for _ in range(9):
        measure_again()
    assert len(measured) == benchmark.ENOUGH_MEASUREMENTS
    found = json.loads((cache / "speed.json").read_text())
    (cache / "speed.json").write_text(json.dumps(found | {"machine": ["elsewhere"]}))
    assert known_speed() is None


@pytest.mark.parametrize("text", ["", "[]", '{"machine": 1}'])
def test_a_damaged_file_is_measured_again(measured, cache, text):
    cache.mkdir()
    (cache / "speed.json").write_text(text)
    assert known_speed() is None
    assert measure_again() == FAST


def test_a_real_measurement_times_every_block(monkeypatch):
    for name in ("IMAGES", "TRIES", "HEAD_TRIES"):
        monkeypatch.setattr(benchmark, name, 1)
    found = measure()
    assert all(0 < found.forward[block] < 5 for block in BLOCKS)
    assert found.step >= 0 and found.head_step > 0
