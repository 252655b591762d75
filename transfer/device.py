"""What this machine has: memory, and which arithmetic is fast and right on it."""

import copy
import time
from functools import cache
from pathlib import Path

import psutil
import torch
from torch import nn

from transfer.hub import on_zero_gpu

VALUES_A_BATCH = 16_000_000
BYTES_A_VALUE = 4
LARGEST_SHARE_OF_MEMORY = 0.125
CGROUP = Path("/sys/fs/cgroup")
FASTER_BY = 0.9
TRIES = 8
CLOSE = 0.03
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": torch.float32}


def own_device() -> torch.device:
    """What this process computes on whenever it wants to."""
    has = torch.cuda.is_available() and not on_zero_gpu()
    return torch.device("cuda" if has else "cpu")


def choose_precision(wanted: str) -> str:
    """Accelerate's name (bf16, fp16 or no) for `wanted`: auto, bf16, fp16 or fp32.

    `auto` is bf16 where the hardware computes in it and a quick check shows that it is faster and
    near enough, else fp16 with loss scaling on GPUs with tensor cores, else fp32.
    """
    if wanted != "auto":
        return "no" if wanted == "fp32" else wanted
    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16"
        return "fp16" if torch.cuda.get_device_capability() >= (7, 0) else "no"
    if torch.backends.mps.is_available():
        return "no"
    has = torch.cpu.get_capabilities()
    computes = has.get("avx512_bf16") or has.get("amx_bf16") or has.get("bf16")
    return "bf16" if computes and _pays(torch.bfloat16) else "no"


@cache
@torch.inference_mode()
def _pays(dtype: torch.dtype) -> bool:
    """Whether a convolution as VGG's is faster in `dtype` and gives nearly the same.

    Both are timed in turn, the quickest of each counts: on a busy machine too the answer is the
    same each time, and with it what the cache is asked for.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.Conv2d(128, 128, 3, padding=1).to(memory_format=torch.channels_last)
        images = torch.randn(8, 128, 28, 28).contiguous(memory_format=torch.channels_last)
    low_layer, low_images = copy.deepcopy(layer).to(dtype), images.to(dtype)
    tries = [(_timed(layer, images), _timed(low_layer, low_images)) for _ in range(TRIES)]
    exact, low = tries[0][0][0], tries[0][1][0].float()
    exact_seconds, low_seconds = (min(t[i][1] for t in tries) for i in (0, 1))
    off = (low - exact).norm() / exact.norm()
    return bool(off < CLOSE) and low_seconds < FASTER_BY * exact_seconds


def _timed(layer: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, float]:
    """(what the layer gives, seconds)."""
    started = time.perf_counter()
    result = layer(images)
    return result, time.perf_counter() - started


def free_memory(device: torch.device) -> int:
    """Bytes that could be taken now; a container's own limit counts."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    try:
        limit = int((CGROUP / "memory.max").read_text())
        taken = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        # what was read from files counts as taken there, and is given back when it is wanted
        return min(free, limit - taken + int(stat["inactive_file"]) + int(stat["active_file"]))
    except (OSError, ValueError, KeyError):  # no such limit
        return free


def images_a_batch(values_an_image: int, device: torch.device, at_most: int) -> int:
    """How many images go through at once, from the values of their largest layer.

    A processor gains nothing from more than a few megabytes of them; a GPU is filled in part.
    """
    fitting = LARGEST_SHARE_OF_MEMORY * free_memory(device) / BYTES_A_VALUE
    values = min(fitting, VALUES_A_BATCH) if device.type == "cpu" else fitting
    return max(1, min(at_most, int(values // values_an_image)))
