"""Optimizers and the learning rate's schedule, from timm by name."""

import torch

from transfer.errors import SettingsError

WARMED_UP_SHARE = 0.1
FUSED = ("adam", "adamw")


def make_optimizer(name: str, groups: list[dict], weight_decay: float) -> torch.optim.Optimizer:
    """Any optimizer of timm's registry, by name. Raises SettingsError."""
    check_optimizer(name)
    from timm.optim import create_optimizer_v2

    rate = max(group["lr"] for group in groups)
    fused = {"fused": True} if name.lower() in FUSED else {}  # the same steps, several times sooner
    try:
        made = create_optimizer_v2(
            groups, opt=name.lower(), lr=rate, weight_decay=weight_decay, **fused
        )
        if getattr(made, "is_second_order", False):
            raise RuntimeError("it needs second derivatives")
        return made
    except (TypeError, RuntimeError, AssertionError, ImportError, ModuleNotFoundError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SettingsError(
            f"optimizer {name!r} cannot be used here ({reason}); choose adamw"
        ) from None


def check_optimizer(name: str) -> None:
    """Raises SettingsError when timm knows no optimizer of this name."""
    import difflib

    from timm.optim import list_optimizers

    known = list_optimizers()
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3) or ["adamw", "sgd", "rmsprop"]
        raise SettingsError(f"expected an optimizer of timm, found {name!r}; try {', '.join(near)}")


def make_schedule(optimizer, steps: int):
    """Linear warm-up over a tenth of the steps, then a cosine (Loshchilov & Hutter 2017)."""
    from timm.scheduler import CosineLRScheduler

    return CosineLRScheduler(
        optimizer,
        t_initial=max(steps, 1),
        warmup_t=int(WARMED_UP_SHARE * steps),
        warmup_prefix=False,
        t_in_epochs=False,
    )
