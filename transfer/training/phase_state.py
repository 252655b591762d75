"""The state of a phase between two epochs: its best weights, and all it takes to resume it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from transfer.errors import RunError
from transfer.features.validation import Validation
from transfer.training.step import copied

COUNTS = ("epoch", "step", "accuracy", "seconds")

Tensors = dict[str, torch.Tensor]


@dataclass(kw_only=True)
class BestWeights:
    """The weights of the least validation loss so far, `state`, and what `epoch` they are of.

    `first` are the weights at the start, which count as epoch 0. `validation` is None until these
    have been judged.
    """

    first: Tensors
    state: Tensors = field(default_factory=dict)
    validation: Validation | None = None
    epoch: int = 0

    def update(self, epoch: int, validation: Validation, module: nn.Module) -> None:
        """Take the module's weights if they are better."""
        if self.validation is None or validation.loss < self.validation.loss:
            self.validation, self.epoch, self.state = validation, epoch, copied(module)

    def pack(self) -> dict:
        return vars(self) | {"validation": vars(self.validation)}

    @classmethod
    def unpack(cls, values: dict) -> "BestWeights":
        """The inverse of `pack`."""
        return cls(**values | {"validation": Validation(**values["validation"])})


@dataclass(kw_only=True)
class PhaseState:
    """A phase after `epoch` epochs and `step` optimizer steps, which took `seconds`.

    `order` is the generator that shuffles, `scaler` scales the loss in fp16. `best` is None until
    the weights at the start have been validated; `accuracy` is the latest epoch's.
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

    def pack(self) -> dict:
        """What `restore` needs to continue bit-exactly; copies no tensor."""
        random = {"order": self.order.get_state(), "cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            random["cuda"] = torch.cuda.get_rng_state()
        return {name: getattr(self, name) for name in COUNTS} | {
            "now": self.module.state_dict(),
            "best": self.best.pack(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else {},
            "random": random,
        }

    def restore(self, values: dict) -> None:
        """Continue where `pack` was called."""
        for name in COUNTS:
            setattr(self, name, values[name])
        self.best = BestWeights.unpack(values["best"])
        self.module.load_state_dict(values["now"])
        self._restore_optimizer(values["optimizer"])
        if self.scaler and values["scaler"]:
            self.scaler.load_state_dict(values["scaler"])
        random = values["random"]
        self.order.set_state(random["order"])
        torch.set_rng_state(random["cpu"])
        if torch.cuda.is_available() and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"])

    def _restore_optimizer(self, saved: dict) -> None:
        """`load_state_dict` alone would cast each state to its parameter's dtype."""
        optimizer = self.optimizer
        optimizer.load_state_dict(saved)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for index, state in saved["state"].items():
            own = parameters[index]
            optimizer.state[own] = {name: _laid_out_as(own, v) for name, v in state.items()}


def _laid_out_as(parameter: torch.Tensor, value):
    """A tensor of its shape gets its memory layout (channels_last), as fused kernels require."""
    if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


@contextmanager
def checkpoint_errors() -> Iterator[None]:
    """Raises RunError where the checkpoint does not fit this training."""
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

    Raises TypeError on anything that an optimizer's state does not consist of.
    """
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return {"tensor": name, "on_cpu": value.device.type == "cpu"}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if isinstance(value, dict):
        pairs = [[key, packed(item, f"{name}/{key}", tensors)] for key, item in value.items()]
        return {"dict": pairs}
    if isinstance(value, list | tuple):
        items = [packed(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
        return {type(value).__name__: items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"expected numbers and tensors in {name}, found {type(value).__name__}")


def unpacked(data, tensors: Tensors, device: torch.device):
    """The inverse of `packed`; tensors that were not on the CPU move to `device`."""
    if not isinstance(data, dict):
        return data
    kind = next(iter(data))
    if kind == "tensor":
        return tensors[data[kind]] if data["on_cpu"] else tensors[data[kind]].to(device)
    if kind == "dtype":
        return getattr(torch, data[kind])
    if kind == "dict":
        return {key: unpacked(item, tensors, device) for key, item in data[kind]}
    items = [unpacked(item, tensors, device) for item in data[kind]]
    return tuple(items) if kind == "tuple" else items
