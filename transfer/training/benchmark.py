"""How fast this machine runs and trains VGG16, measured a few times and kept, for forecasts.

Nothing of a data set is needed for it, so that a time can be told before anything is opened.
"""

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from transfer.cache.paths import cache_folder
from transfer.settings import BLOCKS

SIDE = 112
IMAGES = 8
TRIES, HEAD_TRIES = 3, 20
ENOUGH_TIMES = 5
HEAD_INPUTS, HEAD_WIDTH, HEAD_BATCH = 2048, 256, 32
# times as long as forward: backward is two products for each one of forward
LEARNING = 3.2


@dataclass(frozen=True, kw_only=True)
class Speed:
    """`forward` is block → seconds that an image of SIDE px takes through it; `step` the seconds
    that an optimizer's step takes a million parameters of the body; `head_step` those of one step
    of a head on cached features.
    """

    forward: dict[str, float]
    step: float
    head_step: float
    fast_device: bool

    @property
    def images_a_second(self) -> float:
        """Through the whole body, at SIDE px."""
        return 1 / sum(self.forward.values())


def known_speed() -> Speed | None:
    """What was measured on this machine before; None where nothing was. Needs no torch."""
    return _known()[0]


def measure_again() -> Speed:
    """Measure in a second or two, and keep the quickest of a few such times.

    What else happened to run beside one of them does not last. Once there are enough, the known
    speed is returned.
    """
    known, times = _known()
    if known and times >= ENOUGH_TIMES:
        return known
    speed = measure()
    if known:
        speed = quicker(known, speed)
    _keep({"machine": _machine(), "times": times + 1, "speed": asdict(speed)})
    return speed


def quicker(one: Speed, other: Speed) -> Speed:
    """The quicker figure of each."""
    return Speed(
        forward={block: min(one.forward[block], other.forward[block]) for block in BLOCKS},
        step=min(one.step, other.step),
        head_step=min(one.head_step, other.head_step),
        fast_device=other.fast_device,
    )


def _known() -> tuple[Speed | None, int]:
    """(the speed, how many times it was measured)."""
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
        if found["machine"] == _machine():
            return Speed(**found["speed"]), int(found["times"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # measured anew
    return None, 0


def _keep(found: dict) -> None:
    path = _path()
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(path)
    except OSError:
        pass  # it is measured again another time


def measure() -> Speed:
    """By a few images of noise and a body that has learned nothing."""
    import torch

    from transfer.device import DTYPES, choose_precision

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = DTYPES[choose_precision("auto")]
    blocks = _blocks(device)
    with torch.random.fork_rng(devices=[]):
        values = torch.rand(IMAGES, 3, SIDE, SIDE, device=device)
        forward, entering = {}, values
        for name, block in blocks.items():
            entering = values
            values, seconds = _forward(block, values, dtype)
            forward[name] = seconds / IMAGES
        step = _step(blocks["block5"], entering[:1], dtype, LEARNING * forward["block5"])
        head_step = _head_step(device)
    return Speed(
        forward=forward,
        step=step,
        head_step=head_step,
        fast_device=device.type != "cpu",
    )


def _blocks(device) -> dict:
    import torch

    from transfer.model.vgg import build_network
    from transfer.model.weights import find_body
    from transfer.settings import HeadSettings

    body = find_body("random", "vgg16", 0).tensors
    head = HeadSettings(pooling="avg", hidden=(), dropout=0.0)
    network = build_network("vgg16", body, head, SIDE, classes=2, seed=0)
    parts = {name: part for name, part in network.parts() if name in BLOCKS}
    return {
        name: part.to(device, memory_format=torch.channels_last) for name, part in parts.items()
    }


def _forward(block, values, dtype) -> tuple:
    """(what leaves the block, seconds), as the feature cache runs it."""
    import copy

    import torch

    low = copy.deepcopy(block).to(dtype).eval()
    values = values.to(dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = quickest(lambda: _wait(low(values)))
        return low(values).clone(), seconds


def _step(block, values, dtype, an_image: float) -> float:
    """Seconds a million parameters that one step takes beside what its only image takes."""
    import torch

    block.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(block.parameters(), lr=1e-9)
    inputs = values.detach().clone().float()

    def update() -> None:
        with torch.autocast(values.device.type, dtype, enabled=dtype != torch.float32):
            loss = block(inputs).float().square().mean()
        _improve(loss, block, optimizer)

    million = sum(p.numel() for p in block.parameters()) / 1e6
    return max(quickest(update) - an_image, 0.0) / million


def _head_step(device) -> float:
    import torch
    from torch import nn

    layers = nn.Linear(HEAD_INPUTS, HEAD_WIDTH), nn.ReLU(), nn.Linear(HEAD_WIDTH, 10)
    head = nn.Sequential(*layers).to(device)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-9)
    features = torch.rand(HEAD_BATCH, HEAD_INPUTS, device=device)

    def update() -> None:
        _improve(head(features).square().mean(), head, optimizer)

    return quickest(update, tries=HEAD_TRIES)


def _improve(loss, module, optimizer) -> None:
    """As an update of a training goes."""
    import torch

    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    _wait(loss)


def _wait(values) -> None:
    """Until a GPU has come to it."""
    values.flatten()[0].item()


def quickest(action: Callable[[], object], tries: int = TRIES) -> float:
    """Seconds of the quickest of some times, after a first one that is slower for good reasons.

    On a processor it is its own time that counts, shared by the threads: whatever else happens to
    run beside the measurement does not last.
    """
    import torch

    fast = torch.cuda.is_available()
    clock, threads = (
        (time.perf_counter, 1) if fast else (time.process_time, torch.get_num_threads())
    )
    action()
    seconds = []
    for _ in range(tries):
        started = clock()
        action()
        seconds.append((clock() - started) / threads)
    return min(seconds)


def _path() -> Path:
    return cache_folder() / "speed.json"


def _machine() -> list:
    """What the speed depends on: another machine may share the folder."""
    return [platform.node(), platform.processor(), os.cpu_count(), version("torch")]
