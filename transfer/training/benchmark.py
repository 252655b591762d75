"""Measures once how fast this machine runs and trains VGG16; `forecast` uses the result.

No dataset is needed: the images are noise and the body is random.
"""

import contextlib
import copy
import json
import os
import time
from dataclasses import asdict, replace

import torch
from torch import nn

from transfer.machine.device import DTYPES, choose_precision, one_thread, training_device
from transfer.model.vgg import build_network
from transfer.model.weights import find_body
from transfer.settings import BLOCKS, HeadSettings
from transfer.training.forecast import (
    BACKWARD_FACTOR,
    MILLION_PARAMETERS,
    SIDE,
    Speed,
    known_speed,
    speed_file,
    this_machine,
)
from transfer.training.step import LARGEST_GRADIENT_NORM
from transfer.training.timing import quickest

IMAGES, FEW_IMAGES = 8, 2
TRIES, HEAD_TRIES = 3, 20
ENOUGH_MEASUREMENTS = 5
HEAD_INPUTS, HEAD_WIDTH, HEAD_BATCH = 2048, 256, 32  # a flattened 2×2 map under avg-256's layer


def measure_again() -> Speed:
    """Measure for a second or two and combine it with earlier measurements.

    Another process can slow one measurement down but not all, so the quickest figures count. After
    a few measurements the known speed is returned as it is.
    """
    known = known_speed()
    if known and known.times >= ENOUGH_MEASUREMENTS:
        return known
    speed = quicker(known, measure()) if known else measure()
    path = speed_file()
    part = path.with_suffix(f".{os.getpid()}.part")
    with contextlib.suppress(OSError):  # it is measured again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        found = {"machine": this_machine(), "speed": asdict(speed)}
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(path)
    return speed


def quicker(known: Speed, other: Speed) -> Speed:
    """The quicker of each figure."""
    return replace(
        other,
        forward={block: min(known.forward[block], other.forward[block]) for block in BLOCKS},
        full_precision=min(known.full_precision, other.full_precision),
        step=min(known.step, other.step),
        head_step=min(known.head_step, other.head_step),
        times=known.times + other.times,
    )


def measure() -> Speed:
    device = training_device()
    dtype = DTYPES[choose_precision("auto")]
    body = find_body("random", "vgg16", 0).tensors
    linear = HeadSettings(pooling="avg", hidden=(), dropout=0.0)
    network = build_network("vgg16", body, linear, SIDE, classes=2, seed=0)
    network = network.to(device, memory_format=torch.channels_last)
    layers = [nn.Dropout(), nn.Linear(HEAD_INPUTS, HEAD_WIDTH), nn.ReLU()]
    layers += [nn.Dropout(), nn.Linear(HEAD_WIDTH, 10)]
    head = nn.Sequential(*layers).to(device)
    with torch.random.fork_rng(devices=[]):
        values = torch.rand(IMAGES, 3, SIDE, SIDE, device=device)
        _, exact = _forward(network.between("block1", "none"), values[:FEW_IMAGES], torch.float32)
        forward = {}
        for name, block in network.parts():
            if name in BLOCKS:
                entering = values  # (IMAGES, C, H, W)
                values, seconds = _forward(block, values, dtype)
                forward[name] = seconds / IMAGES
        block5 = dict(network.parts())["block5"]
        # a single image, so that most of its time is the optimizer's step
        body_step = _step(block5, entering[:1].clone().float(), dtype, TRIES)
        features = torch.rand(HEAD_BATCH, HEAD_INPUTS, device=device)
        with one_thread():
            head_step = _step(head, features, torch.float32, HEAD_TRIES)
    return Speed(
        forward=forward,
        full_precision=max(1.0, exact / FEW_IMAGES / sum(forward.values())),
        step=max(body_step - BACKWARD_FACTOR * forward["block5"], 0.0)
        / MILLION_PARAMETERS["block5"],
        head_step=head_step,
        fast_device=device.type != "cpu",
        feature_bytes=dtype.itemsize,
    )


def _forward(
    block: nn.Module, values: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, float]:
    """(the block's output, seconds), computed as the feature cache does."""
    low = copy.deepcopy(block).to(dtype).eval()
    values = values.to(dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = quickest(lambda: _synchronize(low(values)), TRIES, _clock)
        return low(values).clone(), seconds


def _step(module: nn.Module, inputs: torch.Tensor, dtype: torch.dtype, tries: int) -> float:
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

    return quickest(update, tries, _clock)


def _synchronize(values: torch.Tensor) -> None:
    """Wait until a GPU has computed them."""
    values.flatten()[0].item()


def _clock() -> float:
    """Seconds; on a CPU the process's own time counts, so that others beside it do not."""
    if training_device().type != "cpu":
        return time.perf_counter()
    return time.process_time() / torch.get_num_threads()
