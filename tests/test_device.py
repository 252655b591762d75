import math
from types import SimpleNamespace

import pytest
import torch

from transfer import device as hardware
from transfer.device import (
    BYTES_A_VALUE,
    LARGEST_SHARE_OF_MEMORY,
    VALUES_A_BATCH,
    choose_precision,
    free_memory,
    images_a_batch,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")
COMPUTES_BF16 = ("avx512_bf16",)
GB = 10**9


def machine(monkeypatch, *, cuda=None, bf16=False, mps=False, cpu=COMPUTES_BF16, pays=True):
    """A machine with a GPU of `cuda` capability, where one is given; any GPU emulates bf16."""
    answers = {
        (torch.cuda, "is_available"): lambda: cuda is not None,
        (torch.cuda, "is_bf16_supported"): lambda including_emulation=True: (
            bf16 or including_emulation
        ),
        (torch.cuda, "get_device_capability"): lambda: cuda,
        (torch.backends.mps, "is_available"): lambda: mps,
        (torch.cpu, "get_capabilities"): lambda: (
            {"avx2": True, "amx_bf16": False} | dict.fromkeys(cpu, True)
        ),
        (hardware, "_pays"): lambda dtype: pays and dtype == torch.bfloat16,
    }
    for (owner, name), answer in answers.items():
        monkeypatch.setattr(owner, name, answer)


@pytest.mark.parametrize(("wanted", "name"), [("bf16", "bf16"), ("fp16", "fp16"), ("fp32", "no")])
@pytest.mark.parametrize("cuda", [None, (9, 0)])
def test_a_precision_that_is_asked_for_is_used_on_any_machine(monkeypatch, wanted, name, cuda):
    machine(monkeypatch, cuda=cuda, bf16=True, pays=False)
    assert choose_precision(wanted) == name


@pytest.mark.parametrize(
    ("has", "name"),
    [
        ({"cuda": (8, 0), "bf16": True}, "bf16"),
        ({"cuda": (8, 0), "bf16": True, "pays": False}, "bf16"),
        ({"cuda": (7, 5)}, "fp16"),
        ({"cuda": (7, 0)}, "fp16"),
        ({"cuda": (6, 1)}, "no"),
        ({"mps": True}, "no"),
        ({"cpu": ("avx512_bf16",)}, "bf16"),
        ({"cpu": ("amx_bf16",)}, "bf16"),
        ({"cpu": ("bf16",)}, "bf16"),
        ({"cpu": ()}, "no"),
        ({"cpu": ("avx512_bf16",), "pays": False}, "no"),
    ],
)
def test_auto_is_what_the_hardware_computes_fast(monkeypatch, has, name):
    machine(monkeypatch, **has)
    assert choose_precision("auto") == name


def timed(off: float, low_seconds: list[float], exact_seconds: list[float] = (1.0,)):
    """Of `_timed`: seconds in turn, the last one again and again; what is low is off by a share."""
    seconds = {torch.bfloat16: [*low_seconds], torch.float32: [*exact_seconds]}

    def result(layer, images):
        assert layer.weight.dtype == images.dtype and torch.is_inference_mode_enabled()
        left = seconds[images.dtype]
        exact = torch.ones(4)
        values = exact if images.dtype == torch.float32 else exact * (1 + off)
        return values.to(images.dtype), left.pop(0) if len(left) > 1 else left[0]

    return result


def pays_now() -> bool:
    """The check itself, not what it found before."""
    return hardware._pays.__wrapped__(torch.bfloat16)


@pytest.mark.parametrize(
    ("off", "seconds", "pays"),
    [
        (0.0, 0.5, True),
        (0.01, 0.5, True),
        (0.0, 0.95, False),
        (0.0, 2.0, False),
        (0.1, 0.5, False),
        (-0.1, 0.5, False),
        (math.nan, 0.5, False),
    ],
)
def test_low_precision_pays_where_it_is_clearly_faster_and_nearly_the_same(
    monkeypatch, off, seconds, pays
):
    monkeypatch.setattr(hardware, "_timed", timed(off, [seconds]))
    assert pays_now() is pays


@pytest.mark.parametrize(
    ("low", "exact", "pays"),
    [([3.0, 0.5], [1.0], True), ([0.5], [0.4, 1.0], False), ([2.0, 0.5], [0.4, 3.0], False)],
)
def test_a_busy_moment_does_not_decide(monkeypatch, low, exact, pays):
    monkeypatch.setattr(hardware, "_timed", timed(0.0, low, exact))
    assert pays_now() is pays


def test_a_process_stays_with_the_answer_that_it_found(monkeypatch):
    hardware._pays.cache_clear()
    try:
        for seconds in (0.5, 2.0):
            monkeypatch.setattr(hardware, "_timed", timed(0.0, [seconds]))
            assert hardware._pays(torch.bfloat16)
    finally:
        hardware._pays.cache_clear()


def test_bf16_as_it_is_computed_here_is_near_enough(monkeypatch):
    monkeypatch.setattr(hardware, "FASTER_BY", math.inf)
    assert pays_now()
    monkeypatch.setattr(hardware, "CLOSE", 1e-5)
    assert not pays_now()


def test_the_check_leaves_the_random_numbers_that_follow_as_they_were(monkeypatch):
    monkeypatch.setattr(hardware, "_timed", timed(0.0, [0.5]))
    torch.rand(1)
    before = torch.get_rng_state()
    pays_now()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_layer_is_timed_in_seconds_and_gives_its_result(monkeypatch):
    moments = iter([5.0, 7.5])
    monkeypatch.setattr(hardware, "time", SimpleNamespace(perf_counter=lambda: next(moments)))
    layer, images = torch.nn.Linear(3, 2), torch.rand(4, 3)
    result, seconds = hardware._timed(layer, images)
    assert seconds == 2.5 and torch.equal(result, layer(images))


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A machine with 8 GB free; gives a folder for the files of a container's limit."""
    free = SimpleNamespace(total=64 * GB, available=8 * GB)
    monkeypatch.setattr(hardware.psutil, "virtual_memory", lambda: free)
    folder = tmp_path / "cgroup"
    folder.mkdir()
    monkeypatch.setattr(hardware, "CGROUP", folder)
    return folder


@pytest.mark.parametrize(
    ("limit", "taken", "free"),
    [
        (str(6 * GB), str(5 * GB), 4 * GB),
        (str(32 * GB), str(1 * GB), 8 * GB),
        (str(32 * GB), str(30 * GB), 5 * GB),
        ("max", str(1 * GB), 8 * GB),
        (str(4 * GB), None, 8 * GB),
        (None, str(1 * GB), 8 * GB),
    ],
)
def test_a_container_s_own_limit_counts_where_it_is_the_lower_one(container, limit, taken, free):
    stat = f"anon {GB}\nactive_file {GB}\ninactive_file {2 * GB}"
    for name, text in {
        "memory.max": limit,
        "memory.current": taken,
        "memory.stat": stat,
    }.items():
        if text:
            (container / name).write_text(text + "\n")
    assert free_memory(CPU) == free


def test_a_gpu_s_memory_is_its_own(container, monkeypatch):
    (container / "memory.max").write_text("1")
    (container / "memory.current").write_text("1")
    free = {0: 5 * GB, 1: 7 * GB}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda at: (free[at.index], 80 * GB))
    assert [free_memory(torch.device("cuda", i)) for i in free] == list(free.values())


def with_memory(monkeypatch, count: float) -> None:
    monkeypatch.setattr(hardware, "free_memory", lambda device: count)


@pytest.mark.parametrize("device", [CPU, GPU])
def test_as_many_images_go_through_at_once_as_a_share_of_memory_holds(monkeypatch, device):
    found = []
    for images in (20, 5, 1):
        with_memory(monkeypatch, images * 1000 * BYTES_A_VALUE / LARGEST_SHARE_OF_MEMORY)
        found.append(images_a_batch(1000, device, at_most=10))
    assert found == [10, 5, 1]


@pytest.mark.parametrize("memory", [0, -GB, 100])
def test_at_least_one_image_goes_through(monkeypatch, memory):
    with_memory(monkeypatch, memory)
    assert images_a_batch(1000, CPU, at_most=10) == 1


def test_a_processor_takes_a_few_megabytes_at_once_and_a_gpu_what_it_holds(monkeypatch):
    with_memory(monkeypatch, 1000 * GB)
    assert images_a_batch(VALUES_A_BATCH // 3, CPU, at_most=50) == 3
    assert images_a_batch(VALUES_A_BATCH // 3, GPU, at_most=50) == 50
