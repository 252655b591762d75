"""Where a phase stands between two epochs: the state it keeps, and all it takes to go on."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from transfer.step import copied

BETWEEN = (0.25, 0.5, 0.75)
STATES = ("first", "state", "lowest_state")
COUNTS = ("epoch", "step", "accuracy", "seconds")

Tensors = dict[str, torch.Tensor]


@dataclass(kw_only=True)
class Best:
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
    best: Best | None = None
    epoch: int = 0
    step: int = 0
    accuracy: float = 0.0
    seconds: float = 0.0

    def pack(self) -> tuple[dict, Tensors]:
        """(JSON, tensors) from which `restore` makes the same again, to the bit."""
        best, optimizer = vars(self.best), self.optimizer.state_dict()["state"]
        record = {name: getattr(self, name) for name in COUNTS}
        record["best"] = {name: value for name, value in best.items() if name not in STATES}
        record["scaler"] = self.scaler.state_dict() if self.scaler else {}
        tensors = {"random/order": self.order.get_state(), "random/cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        states = {"now": self.module.state_dict()} | {name: best[name] for name in STATES}
        for state, its in states.items():
            tensors |= {f"{state}/{name}": tensor for name, tensor in its.items()}
        for at, its in optimizer.items():
            tensors |= {f"optimizer/{at}/{name}": torch.as_tensor(v) for name, v in its.items()}
        return record, tensors

    def restore(self, record: dict, tensors: Tensors) -> None:
        """What follows is then what would have followed where `pack` was called."""
        own = next(self.module.parameters()).device
        states = {
            name: {key: tensor.to(own) for key, tensor in below(name, tensors).items()}
            for name in STATES
        }
        self.best = Best(**record["best"] | {"score": tuple(record["best"]["score"])} | states)
        for name in COUNTS:
            setattr(self, name, record[name])
        self.module.load_state_dict(below("now", tensors))
        self._restore_optimizer(below("optimizer", tensors))
        if self.scaler and record["scaler"]:
            self.scaler.load_state_dict(record["scaler"])
        self.order.set_state(tensors["random/order"])
        torch.set_rng_state(tensors["random/cpu"])
        if torch.cuda.is_available() and "random/cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random/cuda"])

    def _restore_optimizer(self, tensors: Tensors) -> None:
        groups = self.optimizer.state_dict()["param_groups"]
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        state = {}
        for at, parameter in enumerate(parameters):
            for name, value in below(str(at), tensors).items():
                if value.shape == parameter.shape:  # laid out in memory as the fused kernels ask
                    value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
                state.setdefault(at, {})[name] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def below(name: str, tensors: Tensors) -> Tensors:
    """Those called `name/…`, without that."""
    return {
        key.removeprefix(f"{name}/"): tensor
        for key, tensor in tensors.items()
        if key.startswith(f"{name}/")
    }
