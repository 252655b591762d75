"""The state of a phase between two epochs, and that it resumes bit-exactly."""

import pytest
import torch
from torch import nn

from tests.tiny import validation
from transfer.errors import RunError, SettingsError
from transfer.features.validation import Validation
from transfer.runs.checkpoint import read_checkpoint, write_checkpoint
from transfer.training.optim import make_optimizer, make_schedule
from transfer.training.phase_state import (
    BestWeights,
    PhaseState,
    checkpoint_errors,
    packed,
    unpacked,
)
from transfer.training.step import copied

INPUTS = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(1))
OPTIMIZERS = ("adamw", "sgd", "adafactor", "radam")
MORE_OPTIMIZERS = (
    "adabelief adafactorbv adam adamp adamuon adamwlegacy adan adopt lamb lambcd laprop lars lion "
    "madgrad mars muon nadam nadamlegacy nadamw novograd rmsprop rmsproptf sgdp sgdw cadamw clion "
    "cadan"
).split()


def judged(loss: float) -> Validation:
    return validation(torch.full((4,), loss), torch.arange(4) < 2)


def started(optimizer: str = "adamw") -> PhaseState:
    """A phase of a convolution and two layers, at its start."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 5), nn.Dropout(0.5), nn.Linear(5, 2))
    module = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    groups = [
        {"params": list(module[:2].parameters()), "lr": 1e-3},
        {"params": list(module[2:].parameters()), "lr": 1e-2},
    ]
    made = make_optimizer(optimizer, groups, 0.05)
    order = torch.Generator().manual_seed(0)
    best = BestWeights(first=copied(module))
    return PhaseState(module=module, optimizer=made, order=order, best=best)


def learn(state: PhaseState, updates: int) -> list[float]:
    """The losses of some updates on shuffled rows; dropout draws from the global generator."""
    schedule, losses = make_schedule(state.optimizer, 12), []
    for _ in range(updates):
        schedule.step_update(state.step)
        rows = torch.randperm(8, generator=state.order)[:6]
        loss = nn.functional.cross_entropy(state.module(INPUTS[rows]), rows % 2)
        loss.backward()
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1
        losses.append(loss.item())
    return losses


def through_disk(state: PhaseState, folder) -> dict:
    tensors = {}
    write_checkpoint(folder, {"state": packed(state.pack(), "state", tensors)}, tensors)
    record, tensors = read_checkpoint(folder)
    return unpacked(record["state"], tensors, "cpu")


@pytest.mark.parametrize(
    "optimizer",
    [*OPTIMIZERS, *(pytest.param(name, marks=pytest.mark.full) for name in MORE_OPTIMIZERS)],
)
def test_optimizers_resume_bit_exactly(optimizer, tmp_path):
    uncut = started(optimizer)
    learn(uncut, 7)  # some optimizers change their rule at the fifth step
    uncut.best.update(1, judged(0.5), uncut.module)
    saved = through_disk(uncut, tmp_path)
    expected = learn(uncut, 5)
    again = started(optimizer)
    again.restore(saved)
    assert learn(again, 5) == expected
    states = (state.module.state_dict().values() for state in (uncut, again))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    own = again.module[0].weight  # a fused kernel needs states in its memory layout
    states = again.optimizer.state[own].values()
    assert all(v.stride() == own.stride() for v in states if getattr(v, "shape", 0) == own.shape)


@pytest.mark.parametrize("name", ["adahessian", "lookahead_adamw"])
def test_optimizers_that_could_not_resume_are_refused(name):
    with pytest.raises(SettingsError, match=r"choose adamw|expected an optimizer"):
        started(name)


def test_best_weights_counts_and_loss_scale_are_restored(tmp_path):
    state, again = started(), started()
    state.scaler, again.scaler = (torch.amp.GradScaler("cpu", init_scale=s) for s in (8.0, 2.0))
    learn(state, 2)
    state.best.update(0, judged(0.7), state.module)
    state.epoch, state.accuracy, state.seconds = 1, 0.25, 1.5
    again.restore(through_disk(state, tmp_path))
    assert (again.epoch, again.step, again.accuracy, again.seconds) == (1, 2, 0.25, 1.5)
    assert again.scaler.state_dict() == state.scaler.state_dict()
    assert (again.best.validation.loss, again.best.epoch) == (state.best.validation.loss, 0)
    assert all(torch.equal(again.best.state[n], t) for n, t in state.best.state.items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: values["random"].pop("order"),
        lambda values: values["now"].update({"0.weight": torch.zeros(2)}),
        lambda values: values.update(best={"score": 3}),
    ],
)
def test_a_state_that_does_not_fit_is_one_line(damage):
    state = started()
    learn(state, 1)
    state.best.update(0, judged(0.7), state.module)
    damage(values := state.pack())
    with pytest.raises(RunError, match="found one that does not fit") as caught:
        checkpoint_errors()(started().restore)(values)
    assert "\n" not in str(caught.value)
