import functools
import math
from types import SimpleNamespace

import pytest
import torch

from transfer.errors import TransferError
from transfer.machine import device as hardware
from transfer.machine.device import (
    BYTES_PER_VALUE,
    CPU_VALUES_PER_BATCH,
    MEMORY_SHARE,
    choose_precision,
    free_memory,
    images_per_batch,
    in_parts,
    one_thread,
    training_device,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")
GB = 10**9


def machine(monkeypatch, *, cuda=None, bf16=False, mps=False, cpu=("avx512_bf16",), fast=True):
    """A machine with a GPU of `cuda` capability, where one is given; any GPU emulates bf16."""
    answers = {
        (torch.cuda, "is_available"): lambda: cuda is not None,
        (torch.cuda, "is_bf16_supported"): lambda including_emulation=True: (
            bf16 or including_emulation
        ),
        (torch.cuda, "get_device_capability"): lambda: cuda,
        (torch.backends.mps, "is_available"): lambda: mps,
        (torch.cpu, "get_capabilities"): lambda: {"avx2": True} | dict.fromkeys(cpu, True),
        (hardware, "_is_worth_it"): lambda dtype: fast and dtype == torch.bfloat16,
    }
    for (owner, name), answer in answers.items():
        monkeypatch.setattr(owner, name, answer, raising=owner is not torch.cpu)


@pytest.mark.parametrize(("wanted", "name"), [("bf16", "bf16"), ("fp16", "fp16"), ("fp32", "no")])
def test_a_given_precision_is_used_on_any_machine(monkeypatch, wanted, name):
    machine(monkeypatch, fast=False)
    assert choose_precision(wanted) == name


@pytest.mark.parametrize(
    ("has", "name"),
    [
        ({"cuda": (8, 0), "bf16": True, "fast": False}, "bf16"),
        ({"cuda": (7, 5)}, "fp16"),
        ({"cuda": (6, 1)}, "no"),
        ({"mps": True}, "no"),
        ({"cpu": ("amx_bf16",)}, "bf16"),
        ({"cpu": ()}, "no"),
        ({"cpu": ("avx512_bf16",), "fast": False}, "no"),
    ],
)
def test_auto_is_the_precision_that_the_hardware_is_fast_in(monkeypatch, has, name):
    machine(monkeypatch, **has)
    assert choose_precision("auto") == name


def timed(error: float, low_seconds: list[float], exact_seconds: list[float] = (1.0,)):
    """In place of `_timed`: seconds in turn, the last ones repeated; bf16 has a relative error."""
    seconds = {torch.bfloat16: [*low_seconds], torch.float32: [*exact_seconds]}

    def result(layer, images):
        assert layer.weight.dtype == images.dtype and torch.is_inference_mode_enabled()
        left = seconds[images.dtype]
        values = torch.ones(4) * (1 if images.dtype == torch.float32 else 1 + error)
        return values.to(images.dtype), left.pop(0) if len(left) > 1 else left[0]

    return result


@pytest.mark.parametrize(
    ("error", "low", "exact", "worth_it"),
    [
        (0.01, [0.5], [1.0], True),
        (0.0, [0.95], [1.0], False),
        (-0.1, [0.5], [1.0], False),
        (math.nan, [0.5], [1.0], False),
        (0.0, [3.0, 0.5], [1.0], True),  # busy moments do not decide
        (0.0, [2.0, 0.5], [0.4, 3.0], False),
    ],
)
def test_bf16_is_worth_it_where_it_is_faster_and_nearly_the_same(
    monkeypatch, error, low, exact, worth_it
):
    monkeypatch.setattr(hardware, "_timed", timed(error, low, exact))
    random_state = torch.get_rng_state()
    assert hardware._is_worth_it.__wrapped__(torch.bfloat16) is worth_it
    assert torch.equal(torch.get_rng_state(), random_state)


def test_the_real_bf16_of_this_machine_is_accurate_enough(monkeypatch):
    monkeypatch.setattr(hardware, "MIN_SPEEDUP", 0)
    assert hardware._is_worth_it.__wrapped__(torch.bfloat16)
    monkeypatch.setattr(hardware, "MAX_ERROR", 1e-5)
    assert not hardware._is_worth_it.__wrapped__(torch.bfloat16)


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [
        (6 * GB, 5 * GB, 4 * GB),
        (32 * GB, 1 * GB, 8 * GB),
        ("max", 1 * GB, 8 * GB),
        (4 * GB, None, 8 * GB),
    ],
)
def test_free_memory_is_what_a_container_s_limit_leaves(tmp_path, monkeypatch, limit, used, free):
    """On a machine with 8 GB free; 3 GB of the container's are page cache."""
    memory = SimpleNamespace(total=64 * GB, available=8 * GB)
    monkeypatch.setattr(hardware.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(hardware, "CGROUP", tmp_path)
    stat = f"anon {GB}\nactive_file {GB}\ninactive_file {2 * GB}"
    files = {"memory.max": limit, "memory.current": used, "memory.stat": stat}
    for name, text in files.items():
        if text:
            (tmp_path / name).write_text(f"{text}\n")
    assert free_memory(CPU) == free


def test_a_gpu_s_memory_is_its_own(monkeypatch):
    free = {0: 5 * GB, 1: 7 * GB}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda at: (free[at.index], 80 * GB))
    assert [free_memory(torch.device("cuda", i)) for i in free] == list(free.values())


@pytest.mark.parametrize(("fitting", "images"), [(20, 10), (5, 5), (1, 1), (0, 1)])
def test_a_batch_takes_a_share_of_the_free_memory_but_at_least_one_image(
    monkeypatch, fitting, images
):
    memory = fitting * 1000 * BYTES_PER_VALUE / MEMORY_SHARE
    monkeypatch.setattr(hardware, "free_memory", lambda device: memory)
    for device in (CPU, GPU):
        assert images_per_batch(1000, device, at_most=10) == images


def test_batches_on_a_cpu_stay_small(monkeypatch):
    monkeypatch.setattr(hardware, "free_memory", lambda device: 1000 * GB)
    assert images_per_batch(CPU_VALUES_PER_BATCH // 3, CPU, at_most=50) == 3
    assert images_per_batch(CPU_VALUES_PER_BATCH // 3, GPU, at_most=50) == 50


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_out_of_memory_halves_a_batch_until_one_image_does_not_fit(error):
    sizes, inputs = [], torch.arange(7.0)

    def double(inputs, most=2, error=error):
        sizes.append(len(inputs))
        if len(inputs) > most:
            raise error
        return 2 * inputs

    assert torch.equal(in_parts(double, inputs), 2 * inputs)
    assert sizes == [7, 4, 2, 2, 3, 2, 1]
    with pytest.raises(TransferError, match="expected enough memory for one image"):
        in_parts(functools.partial(double, most=0), inputs)
    with pytest.raises(RuntimeError, match="shapes differ"):
        in_parts(functools.partial(double, error=RuntimeError("shapes differ")), inputs)


@pytest.mark.parametrize(
    ("cuda", "mps", "device"), [((8, 0), False, "cuda"), (None, True, "mps"), (None, False, "cpu")]
)
def test_the_forecast_measures_the_device_that_trains(monkeypatch, cuda, mps, device):
    machine(monkeypatch, cuda=cuda, mps=mps)
    assert training_device().type == device


def test_small_matrices_are_computed_by_one_thread():
    before = torch.get_num_threads()
    with pytest.raises(ValueError), one_thread():
        assert torch.get_num_threads() == 1
        raise ValueError
    assert torch.get_num_threads() == before
