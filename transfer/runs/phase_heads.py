"""The heads that a training had after its earlier stages, kept beside the run for comparison.

Those stages (features, warm-up) stand on the body as it came, so a head is all there is to keep.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from transfer.errors import RunError
from transfer.model.vgg import Head
from transfer.settings import HeadSettings


@dataclass(frozen=True, kw_only=True)
class PhaseHead:
    """`shape` is the name of its HeadSettings, as in `avg-256`; `tensors` its state, float32."""

    shape: str
    tensors: dict[str, torch.Tensor]

    @classmethod
    def of(cls, head: Head, settings: HeadSettings) -> "PhaseHead":
        """The head as it is now; what it learns later does not reach the copy."""
        state = head.state_dict().items()
        return cls(
            shape=settings.name,
            tensors={name: tensor.detach().to("cpu", copy=True) for name, tensor in state},
        )


def pack_heads(heads: dict[str, PhaseHead]) -> bytes:
    """Stage → head, as one safetensors file: tensors `STAGE/NAME`, shapes in its metadata."""
    from safetensors.torch import save

    tensors = {
        f"{stage}/{name}": tensor.contiguous()
        for stage, head in heads.items()
        for name, tensor in head.tensors.items()
    }
    return save(tensors, {stage: head.shape for stage, head in heads.items()})


def read_heads(path: Path) -> dict[str, PhaseHead]:
    """What `pack_heads` made of them; empty where there is no such file. Raises RunError."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return {}
    try:
        with safe_open(path, "pt") as file:
            shapes = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError):
        raise RunError(f"the run's {path.name} is cut or damaged; train again") from None
    return {
        stage: PhaseHead(
            shape=shape,
            tensors={
                name.removeprefix(f"{stage}/"): tensor
                for name, tensor in tensors.items()
                if name.startswith(f"{stage}/")
            },
        )
        for stage, shape in shapes.items()
    }
