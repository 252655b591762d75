"""Measures once how fast this machine runs and trains VGG16; `forecast` uses the result.

No dataset is needed: the images are noise and the body is random.
"""

import copy
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import nn

from transfer.device import DTYPES, choose_precision
from transfer.model.vgg import build_network
from transfer.model.weights import find_body
from transfer.settings import BLOCKS, HeadSettings
from transfer.training.forecast import (
    BACKWARD_FACTOR,
    SIDE,
    Speed,
    read_speed,
    speed_file,
    this_machine,
)
from transfer.training.step import LARGEST_GRADIENT_NORM
from transfer.training.timing import quickest

IMAGES = 8
TRIES, HEAD_TRIES = 3, 20
ENOUGH_MEASUREMENTS = 5
HEAD_INPUTS, HEAD_WIDTH, HEAD_BATCH = 2048, 256, 32  # a flattened 2×2 map under avg-256's layer


def measure_again() -> Speed:
    """Measure for a second or two and combine it with earlier measurements.

    Another process can slow one measurement down but not all, so the quickest figures count. After
    a few measurements the known speed is returned as it is.
    """
    known, times = read_speed()
    if known and times >= ENOUGH_MEASUREMENTS:
        return known
    speed = measure()
    if known:
        speed = quicker(known, speed)
    _write({"machine": this_machine(), "times": times + 1, "speed": asdict(speed)})
    return speed


def quicker(one: Speed, other: Speed) -> Speed:
    """The quicker of each figure."""
    return Speed(
        forward={block: min(one.forward[block], other.forward[block]) for block in BLOCKS},
        step=min(one.step, other.step),
        head_step=min(one.head_step, other.head_step),
        fast_device=other.fast_device,
    )


def _write(found: dict) -> None:
    path = speed_file()
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(path)
    except OSError:
        pass  # it is measured again next time


def measure() -> Speed:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = DTYPES[choose_precision("auto")]
    blocks = _blocks(device)
    layers = nn.Linear(HEAD_INPUTS, HEAD_WIDTH), nn.ReLU(), nn.Linear(HEAD_WIDTH, 10)
    head = nn.Sequential(*layers).to(device)
    with torch.random.fork_rng(devices=[]):
        values = torch.rand(IMAGES, 3, SIDE, SIDE, device=device)
        forward, entering = {}, values
        for name, block in blocks.items():
            entering = values  # (IMAGES, C, H, W)
            values, seconds = _forward(block, values, dtype)
            forward[name] = seconds / IMAGES
        # a single image, so that most of its time is the optimizer's step
        body_step = _step(blocks["block5"], entering[:1].clone().float(), dtype)
        features = torch.rand(HEAD_BATCH, HEAD_INPUTS, device=device)
        head_step = _step(head, features, torch.float32, HEAD_TRIES)
    million = sum(p.numel() for p in blocks["block5"].parameters()) / 1e6
    return Speed(
        forward=forward,
        step=max(body_step - BACKWARD_FACTOR * forward["block5"], 0.0) / million,
        head_step=head_step,
        fast_device=device.type != "cpu",
    )


def _blocks(device: torch.device) -> dict[str, nn.Module]:
    body = find_body("random", "vgg16", 0).tensors
    head = HeadSettings(pooling="avg", hidden=(), dropout=0.0)
    network = build_network("vgg16", body, head, SIDE, classes=2, seed=0)
    return {
        name: part.to(device, memory_format=torch.channels_last)
        for name, part in network.parts()
        if name in BLOCKS
    }


def _forward(
    block: nn.Module, values: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, float]:
    """(the block's output, seconds), computed as the feature cache does."""
    low = copy.deepcopy(block).to(dtype).eval()
    values = values.to(dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = _quickest(lambda: _synchronize(low(values)))
        return low(values).clone(), seconds


def _step(module: nn.Module, inputs: torch.Tensor, dtype: torch.dtype, tries=TRIES) -> float:
    """Seconds of a training step."""
    module.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-9)

    def update() -> None:
        with torch.autocast(inputs.device.type, dtype, enabled=dtype != torch.float32):
            loss = module(inputs).float().square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), LARGEST_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad()
        _synchronize(loss)

    return _quickest(update, tries)


def _synchronize(values: torch.Tensor) -> None:
    """Wait until a GPU has computed them."""
    values.flatten()[0].item()


def _quickest(action: Callable[[], object], tries: int = TRIES) -> float:
    """On a CPU the process's own time counts, so that others beside it do not."""
    if torch.cuda.is_available():
        return quickest(action, tries, time.perf_counter)
    return quickest(action, tries, lambda: time.process_time() / torch.get_num_threads())
