"""What a phase keeps of itself between two epochs, and that it goes on from it to the bit."""

import json

import pytest
import torch
from torch import nn

from transfer.errors import RunError, SettingsError
from transfer.runs.checkpoint import read_checkpoint, write_checkpoint
from transfer.training.optim import make_optimizer, make_schedule
from transfer.training.phase_state import BestWeights, PhaseState, below, packed, unpacked
from transfer.training.step import copied

CPU = torch.device("cpu")
INPUTS = torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(1))
OPTIMIZERS = (
    "adabelief adafactor adafactorbv adam adamp adamuon adamw adamwlegacy adan adopt "
    "lamb lambcd laprop lars lion madgrad mars muon nadam nadamlegacy nadamw novograd radam "
    "rmsprop rmsproptf sgd sgdp sgdw cadamw clion cadan"
).split()


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
    best = BestWeights(start_accuracy=0.5, first=copied(module))
    return PhaseState(module=module, optimizer=made, order=order, best=best)


def learn(state: PhaseState, updates: int) -> list[float]:
    """The losses of so many updates on shuffled rows; dropout draws from the global generator."""
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


def through_disk(state: PhaseState, folder) -> tuple[dict, dict]:
    write_checkpoint(folder, *state.pack())
    return read_checkpoint(folder)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_goes_on_to_the_bit(optimizer, tmp_path):
    whole = started(optimizer)
    learn(whole, 7)  # more than the fifth, at which some begin to do something else
    whole.best.offer(1, 0.5, 0.5, whole.module, wanted=False)
    kept = through_disk(whole, tmp_path)
    wanted = learn(whole, 5)
    again = started(optimizer)
    again.restore(*kept)
    assert learn(again, 5) == wanted
    states = (state.module.state_dict().values() for state in (whole, again))
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


def test_what_learns_in_another_way_is_refused_before_anything_is_kept():
    for name in ("adahessian", "lookahead_adamw"):
        with pytest.raises(SettingsError):
            started(name)


def test_the_best_state_and_the_counts_come_back(tmp_path):
    state = started()
    learn(state, 2)
    state.best.offer(0, 0.7, 0.5, state.module, wanted=False)
    learn(state, 2)
    state.best.offer(1, 0.6, 0.25, state.module, wanted=False)
    state.epoch, state.accuracy, state.seconds = 1, 0.25, 1.5
    again = started()
    again.restore(*through_disk(state, tmp_path))
    assert (again.epoch, again.step, again.accuracy, again.seconds) == (1, 4, 0.25, 1.5)
    for name, value in vars(state.best).items():
        found = getattr(again.best, name)
        if isinstance(value, dict):
            assert found.keys() == value.keys()
            assert all(torch.equal(found[key], value[key]) for key in value)
        else:
            assert found == value


def test_losses_that_are_infinite_so_far_stay_so(tmp_path):
    state, again = started(), started()
    assert state.best.lowest_loss == float("inf")
    again.restore(*through_disk(state, tmp_path))
    assert again.best.lowest_loss == float("inf") and again.best.lowest_state == {}


def test_the_scale_of_losses_in_half_precision_comes_back(tmp_path):
    state, again = started(), started()
    state.scaler, again.scaler = (torch.amp.GradScaler("cpu", init_scale=s) for s in (8.0, 2.0))
    again.restore(*through_disk(state, tmp_path))
    assert again.scaler.state_dict() == state.scaler.state_dict()


def test_the_states_of_an_optimizer_lie_in_memory_as_its_parameters(tmp_path):
    state = started()
    learn(state, 1)
    again = started()
    again.restore(*through_disk(state, tmp_path))
    own = again.module[0].weight
    assert own.stride() == again.optimizer.state[own]["exp_avg"].stride() != (27, 9, 3, 1)


def test_what_is_restored_does_not_stand_in_memory_twice(tmp_path):
    state = started()
    record, tensors = through_disk(state, tmp_path)
    started().restore(record, tensors)
    assert tensors == {}


def test_packing_copies_nothing():
    state = started()
    learn(state, 1)
    _, tensors = state.pack()
    own = {tensor.data_ptr() for tensor in state.module.state_dict().values()}
    assert {tensor.data_ptr() for tensor in below("now", tensors).values()} == own


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record, tensors: tensors.pop("now/0.weight"),
        lambda record, tensors: tensors.pop("random/order"),
        lambda record, tensors: tensors.update({"now/0.weight": torch.zeros(2)}),
        lambda record, tensors: tensors.update({"random/cpu": torch.zeros(2)}),
        lambda record, tensors: record.pop("optimizer"),
        lambda record, tensors: record.update(optimizer=[]),
        lambda record, tensors: record.update(best={"score": 3}),
        lambda record, tensors: record.pop("step"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(spoil):
    state = started()
    learn(state, 1)
    record, tensors = state.pack()
    spoil(record, tensors)
    with pytest.raises(RunError, match="found one that does not fit") as caught:
        started().restore(record, tensors)
    assert "\n" not in str(caught.value)


def test_the_checkpoint_of_another_optimizer_is_told_in_a_line():
    state = started("sgd")
    learn(state, 1)
    other = started("adamw")
    other.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    with pytest.raises(RunError, match="does not fit"):
        other.restore(*state.pack())


def test_nested_values_come_back_as_they_were_with_their_tensors_beside():
    tensors = {}
    value = {
        0: {"step": 3, "exact": 0.1 + 0.2, "none": None, "on": True, "list": [1, (2, "x")]},
        "dtype": torch.bfloat16,
        "tensor": torch.tensor([1.5], dtype=torch.float64),
    }
    data = json.loads(json.dumps(packed(value, "optimizer", tensors)))
    again = unpacked(data, tensors, CPU)
    assert list(tensors) == ["optimizer/tensor"]
    assert again.pop("tensor").dtype == torch.float64
    assert again == {key: its for key, its in value.items() if key != "tensor"}


def test_what_is_neither_number_nor_tensor_is_not_kept_in_silence():
    with pytest.raises(TypeError, match="in optimizer/x, found set"):
        packed({"x": {1}}, "optimizer", {})
