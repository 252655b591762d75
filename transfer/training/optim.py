"""Optimizers and the learning-rate schedule, from timm; how rates differ between blocks."""

import difflib

import torch
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import CosineLRScheduler

from transfer.errors import SettingsError

WARMUP_SHARE = 0.1  # of all steps
# discriminative rates (Howard & Ruder 2018): lower features are more general, so they move less
BLOCK5_RATE, RATE_DECAY_PER_BLOCK = 1.0, 0.5  # of the head's rate; of the rate of the block above
FUSED = ("adam", "adamw")  # torch's fused kernels: the same steps, several times faster


def make_optimizer(name: str, groups: list[dict], weight_decay: float) -> torch.optim.Optimizer:
    """Any optimizer of timm's registry, by name. Raises SettingsError."""
    check_optimizer(name)
    rate = max(group["lr"] for group in groups)
    fused = {"fused": True} if name.lower() in FUSED else {}
    try:
        optimizer = create_optimizer_v2(
            groups, opt=name.lower(), lr=rate, weight_decay=weight_decay, **fused
        )
        if getattr(optimizer, "is_second_order", False):
            raise RuntimeError("it needs second derivatives")
        return optimizer
    except (TypeError, RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SettingsError(
            f"optimizer {name!r} cannot be used here ({reason}); choose adamw"
        ) from None


def check_optimizer(name: str) -> None:
    """Raises SettingsError when timm knows no optimizer of this name."""
    known = list_optimizers()
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3) or ["adamw", "sgd", "rmsprop"]
        raise SettingsError(f"expected an optimizer of timm, found {name!r}; try {', '.join(near)}")


def make_schedule(optimizer: torch.optim.Optimizer, steps: int) -> CosineLRScheduler:
    """Linear warm-up over a tenth of the steps, then a cosine (Loshchilov & Hutter 2017)."""
    return CosineLRScheduler(
        optimizer,
        t_initial=max(steps, 1),
        warmup_t=int(WARMUP_SHARE * steps),
        warmup_prefix=False,
        t_in_epochs=False,
    )
