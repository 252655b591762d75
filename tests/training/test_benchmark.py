import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from transfer.settings import BLOCKS
from transfer.training import benchmark as speed
from transfer.training.benchmark import Speed, known_speed, measure, measure_again, quicker

SLOW = Speed(forward=dict.fromkeys(BLOCKS, 0.02), step=0.01, head_step=0.001, fast_device=False)
FAST = Speed(forward=dict.fromkeys(BLOCKS, 0.01), step=0.02, head_step=0.002, fast_device=False)


@pytest.fixture
def measured(monkeypatch):
    """How often this machine was measured; each time it gives the next of these speeds."""
    times = []

    def measure():
        times.append(1)
        return (SLOW, FAST)[len(times) % 2]

    monkeypatch.setattr(speed, "measure", measure)
    return times


def test_nothing_is_known_of_a_new_machine():
    assert known_speed() is None


def test_the_quicker_figure_of_each_is_kept(measured):
    assert measure_again() == FAST
    assert measure_again() == quicker(FAST, SLOW) == known_speed()
    assert known_speed() == replace(FAST, step=0.01, head_step=0.001)


def test_a_few_times_are_enough(measured):
    for _ in range(9):
        measure_again()
    assert len(measured) == speed.ENOUGH_TIMES


@pytest.mark.parametrize("text", ["", "[]", '{"machine": 1}', '{"machine": [], "times": "x"}'])
def test_what_cannot_be_read_is_measured_anew(measured, cache, text):
    cache.mkdir()
    (cache / "speed.json").write_text(text)
    assert known_speed() is None
    assert measure_again() == FAST


def test_another_machine_s_speed_is_not_taken(measured, cache):
    measure_again()
    found = json.loads((cache / "speed.json").read_text())
    (cache / "speed.json").write_text(json.dumps(found | {"machine": ["elsewhere"]}))
    assert known_speed() is None


def test_a_folder_that_cannot_be_written_to_costs_nothing_but_the_memory(measured, cache):
    cache.write_text("a file")
    assert measure_again() == FAST
    assert known_speed() is None


def test_images_a_second_are_those_of_the_whole_body():
    assert FAST.images_a_second == pytest.approx(20)


@pytest.mark.slow
def test_a_real_measurement_finds_every_block_at_work():
    found = measure()
    assert all(0 < found.forward[block] < 5 for block in BLOCKS)
    assert found.step >= 0 and found.head_step > 0


@pytest.mark.slow
def test_a_worker_that_waits_measures_the_machine(cache):
    command = [sys.executable, "-m", "transfer.jobs.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        deadline = time.monotonic() + 240
        while known_speed() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        worker.stdin.close()
    assert known_speed().images_a_second > 0
