import pytest
import torch

from tests.tiny import tiny_network
from transfer.errors import RunError
from transfer.runs.phase_heads import PhaseHead, pack_heads, read_heads
from transfer.runs.run import STAGES
from transfer.settings import HeadSettings


@pytest.fixture
def heads() -> dict[str, PhaseHead]:
    shapes = {"features": HeadSettings.named("avg"), "warm-up": HeadSettings.named("flatten-8-4")}
    return {
        stage: PhaseHead.of(tiny_network(pooling=s.pooling, hidden=s.hidden).head, s)
        for stage, s in shapes.items()
    }


def test_heads_are_read_as_they_were_packed(heads, tmp_path):
    assert read_heads(tmp_path / STAGES) == {}
    (tmp_path / STAGES).write_bytes(pack_heads(heads))
    found = read_heads(tmp_path / STAGES)
    assert [head.shape for head in found.values()] == ["avg", "flatten-8-4"]
    for stage, head in heads.items():
        assert found[stage].tensors.keys() == head.tensors.keys()
        assert all(torch.equal(found[stage].tensors[n], t) for n, t in head.tensors.items())


def test_a_cut_file_is_one_line(heads, tmp_path):
    (tmp_path / STAGES).write_bytes(pack_heads(heads)[:-1])
    with pytest.raises(RunError, match=f"the run's {STAGES} is cut or damaged") as caught:
        read_heads(tmp_path / STAGES)
    assert str(tmp_path) not in str(caught.value)


def test_further_training_does_not_change_a_saved_head():
    head = tiny_network().head
    saved = PhaseHead.of(head, HeadSettings())
    with torch.no_grad():
        head.mean.add_(1)
    assert not torch.equal(saved.tensors["mean"], head.mean)
