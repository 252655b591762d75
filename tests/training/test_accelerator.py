"""What the environment asks of Accelerate."""

import pytest
import torch
from accelerate.state import AcceleratorState

from transfer.errors import SettingsError
from transfer.training.accelerator import make_accelerator


@pytest.fixture(autouse=True)
def fresh():
    """No state of an earlier training, as in a new process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCELERATE_MIXED_PRECISION", "fp8"),
        ("ACCELERATE_MIXED_PRECISION", "half"),
        ("ACCELERATE_USE_CPU", "perhaps"),
        ("ACCELERATE_DEBUG_MODE", "perhaps"),
        ("ACCELERATE_TORCH_DEVICE", "gpu"),
        ("ACCELERATE_USE_DEEPSPEED", "true"),
        ("ACCELERATE_USE_MEGATRON_LM", "true"),
        ("LOCAL_RANK", "0"),
        ("LOCAL_RANK", "first"),
    ],
)
def test_what_the_environment_asks_in_vain_is_named(name, value, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"unset what is not meant of .*{name}={value}"):
        make_accelerator(0)
    monkeypatch.delenv(name)
    assert make_accelerator(0, "fp32").mixed_precision == "no"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RANK", "1"),
        ("WORLD_SIZE", "1"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4"),
        ("ACCELERATE_DYNAMO_BACKEND", "inductor"),
        ("ACCELERATE_USE_FSDP", "true"),
    ],
)
def test_what_is_left_over_changes_no_training(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    accelerator = make_accelerator(0, "fp32")
    assert accelerator.is_main_process and accelerator.num_processes == 1
    assert accelerator.gradient_accumulation_steps == 1
    assert accelerator.state.dynamo_plugin.backend.value.lower() == "no"


def test_accelerate_s_own_precision_is_taken_for_auto_alone(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert make_accelerator(0).mixed_precision == "bf16"
    assert make_accelerator(0, "fp32").mixed_precision == "no"


def test_float32_is_not_rounded_to_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    make_accelerator(0, "fp32")
    assert not torch.backends.cudnn.allow_tf32
