"""Where a phase stands between two epochs: the state it keeps, and all it takes to go on."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from transfer.errors import RunError
from transfer.training.step import copied

BETWEEN = (0.25, 0.5, 0.75)
STATES = ("first", "state", "lowest_state")
COUNTS = ("epoch", "step", "accuracy", "seconds")

Tensors = dict[str, torch.Tensor]


@dataclass(kw_only=True)
class BestWeights:
    """The kept state: not less accurate on validation than the phase's start, then of least loss.

    Loss decides because it is far less noisy than accuracy on the few images of a small set.
    `first` is the state at the start; `lowest_state`, of `lowest_loss`, the trained epoch of least
    loss, whatever its accuracy; the kept `state` lies `share` of the way from the start to `epoch`.
    """

    start_accuracy: float
    first: Tensors
    state: Tensors = field(default_factory=dict)
    score: tuple[float, float] = (-1.0, 0.0)
    accuracy: float = 0.0
    epoch: int = 0
    share: float = 1.0
    lowest_loss: float = math.inf
    lowest_epoch: int = 0
    lowest_state: Tensors = field(default_factory=dict)

    def offer(self, epoch: int, loss: float, accuracy: float, module: nn.Module, wanted: bool):
        """Keep this epoch if it is better, or if it is `wanted` whatever its loss."""
        if epoch and loss < self.lowest_loss:
            self.lowest_loss, self.lowest_epoch = loss, epoch
            self.lowest_state = copied(module)
        self._offer(epoch, loss, accuracy, module, wanted)

    def offer_between(self, module: nn.Module, judge: Callable[[], tuple[float, float]]) -> None:
        """Keep a state between the start and the epoch of least loss if it is better than both.

        Weights between those before and after fine-tuning are often better than either (Wortsman
        et al. 2022). `judge` gives a module's loss and accuracy on validation.
        """
        last = self.lowest_state
        for share in BETWEEN if self.lowest_epoch else ():
            module.load_state_dict(
                {name: self.first[name].lerp(last[name], share) for name in last}
            )
            self._offer(self.lowest_epoch, *judge(), module, share=share)

    def _offer(self, epoch, loss, accuracy, module, wanted=False, share=1.0) -> None:
        score = (min(accuracy, self.start_accuracy), -loss)
        if score > self.score or wanted:
            self.score, self.accuracy, self.epoch, self.share = score, accuracy, epoch, share
            self.state = copied(module)


@dataclass(kw_only=True)
class PhaseState:
    """What a phase has come to after `epoch` epochs and `step` updates, which took `seconds`.

    `order` is the generator that shuffles, `scaler` that of losses in fp16; `best` is None until
    the state at the start has been judged, `accuracy` the newest epoch's on validation.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    order: torch.Generator
    scaler: torch.amp.GradScaler | None = None
    best: BestWeights | None = None
    epoch: int = 0
    step: int = 0
    accuracy: float = 0.0
    seconds: float = 0.0

    def pack(self) -> tuple[dict, Tensors]:
        """(JSON, tensors) from which `restore` makes the same again, to the bit."""
        best = vars(self.best)
        record = {name: getattr(self, name) for name in COUNTS}
        record["best"] = {name: value for name, value in best.items() if name not in STATES}
        record["scaler"] = self.scaler.state_dict() if self.scaler else {}
        tensors = {"random/order": self.order.get_state(), "random/cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        states = {"now": self.module.state_dict()} | {name: best[name] for name in STATES}
        for state, its in states.items():
            tensors |= {f"{state}/{name}": tensor for name, tensor in its.items()}
        record["optimizer"] = packed(self.optimizer.state_dict(), "optimizer", tensors)
        return record, tensors

    def restore(self, record: dict, tensors: Tensors) -> None:
        """What follows is then what would have followed where `pack` was called.

        Uses up `tensors`, so that they do not stand in memory twice. Raises RunError.
        """
        with fitting():
            self._restore(record, tensors)
        tensors.clear()

    def _restore(self, record: dict, tensors: Tensors) -> None:
        own = next(self.module.parameters()).device
        states = {
            name: {key: tensor.to(own) for key, tensor in below(name, tensors).items()}
            for name in STATES
        }
        self.best = BestWeights(
            **record["best"] | {"score": tuple(record["best"]["score"])} | states
        )
        for name in COUNTS:
            setattr(self, name, record[name])
        self.module.load_state_dict(below("now", tensors))
        self._restore_optimizer(unpacked(record["optimizer"], tensors, own))
        if self.scaler and record["scaler"]:
            self.scaler.load_state_dict(record["scaler"])
        self.order.set_state(tensors["random/order"])
        torch.set_rng_state(tensors["random/cpu"])
        if torch.cuda.is_available() and "random/cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random/cuda"])

    def _restore_optimizer(self, kept: dict) -> None:
        """`kept` is a state_dict; its own loading would change the dtypes of a parameter's."""
        optimizer = self.optimizer
        optimizer.load_state_dict(kept)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for at, its in kept["state"].items():
            own = parameters[at]
            optimizer.state[own] = {name: _laid_out_as(own, value) for name, value in its.items()}


def _laid_out_as(own: torch.Tensor, value):
    """A tensor of its shape as `own` lies in memory, which the fused kernels ask for."""
    if not isinstance(value, torch.Tensor) or value.shape != own.shape:
        return value
    return torch.empty_like(own, dtype=value.dtype, device=value.device).copy_(value)


@contextmanager
def fitting() -> Iterator[None]:
    """Raises RunError where what was kept does not fit this training."""
    try:
        yield
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise RunError(
            f"expected a checkpoint of this training, found one that does not fit it ({reason}); "
            "remove the run folder, or train into another"
        ) from None


def packed(value, name: str, tensors: Tensors):
    """`value` as JSON; its tensors go into `tensors`, under names that begin with `name`.

    Raises TypeError on what an optimizer's state is not made of.
    """
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return {"tensor": name, "on_cpu": value.device.type == "cpu"}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, dict):
        pairs = [[key, packed(its, f"{name}/{key}", tensors)] for key, its in value.items()]
        return {"dict": pairs}
    if isinstance(value, list | tuple):
        items = [packed(its, f"{name}/{at}", tensors) for at, its in enumerate(value)]
        return {type(value).__name__: items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"expected numbers and tensors in {name}, found {type(value).__name__}")


def unpacked(data, tensors: Tensors, device: torch.device):
    """What `packed` was given; tensors that were not on the CPU come onto `device`."""
    if not isinstance(data, dict):
        return data
    kind = next(iter(data))
    if kind == "tensor":
        return tensors[data[kind]] if data["on_cpu"] else tensors[data[kind]].to(device)
    if kind == "dtype":
        return getattr(torch, data[kind])
    if kind == "dict":
        return {key: unpacked(its, tensors, device) for key, its in data[kind]}
    items = [unpacked(its, tensors, device) for its in data[kind]]
    return tuple(items) if kind == "tuple" else items


def below(name: str, tensors: Tensors) -> Tensors:
    """Those called `name/…`, without that."""
    return {
        key.removeprefix(f"{name}/"): tensor
        for key, tensor in tensors.items()
        if key.startswith(f"{name}/")
    }
