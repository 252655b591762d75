import pytest
import torch

from tests.tiny import tiny_network
from transfer.errors import RunError
from transfer.runs.phase_heads import PhaseHead, pack_heads, read_heads
from transfer.runs.run import STAGES
from transfer.settings import HeadSettings


def phase_head(name: str) -> PhaseHead:
    settings = HeadSettings.named(name)
    network = tiny_network(pooling=settings.pooling, hidden=settings.hidden)
    return PhaseHead.of(network.head, settings)


def test_heads_are_read_as_they_were_packed(tmp_path):
    heads = {"features": phase_head("avg"), "warm-up": phase_head("flatten-8-4")}
    file = tmp_path / STAGES
    assert read_heads(file) == {}
    file.write_bytes(pack_heads(heads))
    for stage, head in read_heads(file).items():
        known = heads.pop(stage)
        assert head.shape == known.shape and head.tensors.keys() == known.tensors.keys()
        assert all(torch.equal(head.tensors[n], t) for n, t in known.tensors.items())
    assert heads == {}
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RunError, match=f"the run's {STAGES} is cut or damaged") as caught:
        read_heads(file)
    assert str(tmp_path) not in str(caught.value)


def test_further_training_does_not_change_a_saved_head():
    head = tiny_network().head
    saved = PhaseHead.of(head, HeadSettings())
    with torch.no_grad():
        head.mean.add_(1)
    assert not torch.equal(saved.tensors["mean"], head.mean)
