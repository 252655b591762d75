"""The heads after each earlier phase, stored beside the run so that phases can be compared.

Those phases (features, warm-up) leave the body unchanged, so the head is all they add.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from transfer.model.vgg import Head
from transfer.runs.run import read_tensors
from transfer.settings import HeadSettings


@dataclass(frozen=True, kw_only=True)
class PhaseHead:
    """`shape` is the name of its HeadSettings, as in `avg-256`; `tensors` its state, float32."""

    shape: str
    tensors: dict[str, torch.Tensor]

    @classmethod
    def of(cls, head: Head, settings: HeadSettings) -> "PhaseHead":
        """A copy of the head as it is now."""
        state = head.state_dict().items()
        return cls(
            shape=settings.name,
            tensors={name: tensor.detach().to("cpu", copy=True) for name, tensor in state},
        )

    def tempered(self, temperature: float) -> "PhaseHead":
        """The same with all logits divided by `temperature`, as `Head.temper` does it."""
        last = max(int(name.split(".")[1]) for name in self.tensors if name.startswith("layers."))
        ours = f"layers.{last}."
        tensors = {
            name: tensor / temperature if name.startswith(ours) else tensor
            for name, tensor in self.tensors.items()
        }
        return replace(self, tensors=tensors)


def pack_heads(heads: dict[str, PhaseHead]) -> bytes:
    """Phase → head, as a safetensors file: tensors `PHASE/NAME`, shapes in its metadata."""
    from safetensors.torch import save

    tensors = {
        f"{phase}/{name}": tensor.contiguous()
        for phase, head in heads.items()
        for name, tensor in head.tensors.items()
    }
    return save(tensors, {phase: head.shape for phase, head in heads.items()})


def read_heads(path: Path) -> dict[str, PhaseHead]:
    """The inverse of `pack_heads`; empty where there is no file. Raises RunError."""
    if not path.is_file():
        return {}
    tensors, shapes = read_tensors(path)
    found: dict[str, dict[str, torch.Tensor]] = {phase: {} for phase in shapes}
    for name, tensor in tensors.items():
        phase, _, own_name = name.partition("/")
        found.setdefault(phase, {})[own_name] = tensor
    return {phase: PhaseHead(shape=shapes[phase], tensors=found[phase]) for phase in shapes}
