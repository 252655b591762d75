"""What this machine has: device, free memory, and the precision that is fast and right on it."""

import copy
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil
import torch
from torch import nn

from transfer.errors import TransferError
from transfer.machine.environment import on_zero_gpu

CPU_VALUES_PER_BATCH = 16_000_000  # 64 MB of the largest layer; larger ones are no faster on a CPU
BYTES_PER_VALUE = 4  # float32
MEMORY_SHARE = (
    0.125  # of the free memory, for the largest layer; others and gradients need the rest
)
CGROUP = Path("/sys/fs/cgroup")
MIN_SPEEDUP = 1 / 0.9
MAX_ERROR = 0.03  # relative; bf16 has 8 bits of mantissa
TRIES = 8
NO_MEMORY = (
    "expected enough memory for one image, found less; close other programs, or train with a "
    "smaller --image-size or fewer unfrozen blocks"
)
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": torch.float32}


def own_device() -> torch.device:
    """The device that this process may use at any time: on ZeroGPU that is not the GPU."""
    exact_float32()
    has_gpu = torch.cuda.is_available() and not on_zero_gpu()
    return torch.device("cuda" if has_gpu else "cpu")


def training_device() -> torch.device:
    """The device that Accelerate will choose, without asking it."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def exact_float32() -> None:
    """Switch TF32 off, to whose 10 bits of mantissa cuDNN would round what it convolves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.9 would have its new settings used, which others
        torch.backends.cudnn.allow_tf32 = False  # could then no longer read by this name


def choose_precision(wanted: str) -> str:
    """Accelerate's name (bf16, fp16 or no) for `wanted`: auto, bf16, fp16 or fp32.

    `auto` is bf16 where the hardware has it (on a CPU also measured to be faster and accurate),
    else fp16 with loss scaling on GPUs with tensor cores, else fp32.
    """
    if wanted != "auto":
        return "no" if wanted == "fp32" else wanted
    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
        return "fp16" if torch.cuda.get_device_capability() >= (7, 0) else "no"
    if torch.backends.mps.is_available():
        return "no"
    # older versions of torch do not know: there measuring decides alone
    has = getattr(torch.cpu, "get_capabilities", lambda: {"bf16": True})()
    has_bf16 = has.get("avx512_bf16") or has.get("amx_bf16") or has.get("bf16")
    return "bf16" if has_bf16 and _is_worth_it(torch.bfloat16) else "no"


@cache
@torch.inference_mode()
def _is_worth_it(dtype: torch.dtype) -> bool:
    """Whether one of VGG's convolutions is clearly faster in `dtype` and nearly the same.

    Both are timed in turn and the best of several tries of each counts: the answer is part of the
    feature cache's keys, so it must be the same on a busy machine.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Conv2d(128, 128, 3, padding=1).to(memory_format=torch.channels_last)
        images = torch.randn(8, 128, 28, 28).contiguous(memory_format=torch.channels_last)
    low_layer, low_images = copy.deepcopy(layer).to(dtype), images.to(dtype)
    tries = [(_timed(layer, images), _timed(low_layer, low_images)) for _ in range(TRIES)]
    exact, low = tries[0][0][0], tries[0][1][0].float()  # (8, 128, 28, 28)
    exact_seconds, low_seconds = (min(t[i][1] for t in tries) for i in (0, 1))
    error = (low - exact).norm() / exact.norm()
    return bool(error < MAX_ERROR) and exact_seconds > MIN_SPEEDUP * low_seconds


def _timed(layer: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, float]:
    """(the layer's output, seconds)."""
    started = time.perf_counter()
    result = layer(images)
    return result, time.perf_counter() - started


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated now, within the limit of a container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    try:
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        page_cache = int(stat["inactive_file"]) + int(stat["active_file"])  # freed on demand
        return min(free, limit - used + page_cache)
    except (OSError, ValueError, KeyError):  # no such limit
        return free


def images_per_batch(values_per_image: int, device: torch.device, at_most: int) -> int:
    """How many images fit into one batch, given the number of values in their largest layer."""
    fitting = MEMORY_SHARE * free_memory(device) / BYTES_PER_VALUE
    values = min(fitting, CPU_VALUES_PER_BATCH) if device.type == "cpu" else fitting
    return max(1, min(at_most, int(values // values_per_image)))


@contextmanager
def one_thread() -> Iterator[None]:
    """For a head's small matrices. Several threads would wait for each other in every product, and
    beside other work for one that has no core, which takes many times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def out_of_memory(error: BaseException) -> bool:
    """Whether torch or numpy could not allocate memory, of any device."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or should_reduce_batch_size(error)


def in_parts(compute: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    """`compute(inputs)`, both (N, …); out of memory, one half of the images after the other.

    Raises TransferError when not even one image fits.
    """
    try:
        return compute(inputs)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
    if len(inputs) == 1:
        raise TransferError(NO_MEMORY)
    return torch.cat([in_parts(compute, half) for half in inputs.chunk(2)])
