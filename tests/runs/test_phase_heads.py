import pytest
import torch

from tests.tiny import tiny_network
from transfer.errors import RunError
from transfer.runs.phase_heads import PhaseHead, pack_heads, read_heads
from transfer.runs.run import STAGES
from transfer.settings import HeadSettings


@pytest.fixture
def heads() -> dict[str, PhaseHead]:
    made = {
        "features": HeadSettings(pooling="avg", hidden=()),
        "warm-up": HeadSettings(pooling="flatten", hidden=(8, 4)),
    }
    return {
        stage: PhaseHead.of(tiny_network(pooling=s.pooling, hidden=s.hidden).head, s)
        for stage, s in made.items()
    }


def test_heads_are_read_as_they_were_packed(heads, tmp_path):
    assert read_heads(tmp_path / STAGES) == {}
    (tmp_path / STAGES).write_bytes(pack_heads(heads))
    found = read_heads(tmp_path / STAGES)
    assert {stage: head.shape for stage, head in found.items()} == {
        "features": "avg",
        "warm-up": "flatten-8-4",
    }
    for stage, head in heads.items():
        assert found[stage].tensors.keys() == head.tensors.keys()
        assert all(torch.equal(found[stage].tensors[n], t) for n, t in head.tensors.items())


def test_further_training_does_not_change_the_copy():
    head = tiny_network().head
    copy = PhaseHead.of(head, HeadSettings(pooling="avg", hidden=(8,)))
    before = copy.tensors["layers.1.weight"].clone()
    with torch.no_grad():
        head.layers[1].weight.add_(1)
    assert torch.equal(copy.tensors["layers.1.weight"], before)


@pytest.mark.parametrize("left", [0, -1])
def test_a_cut_file_is_one_line(heads, tmp_path, left):
    (tmp_path / STAGES).write_bytes(pack_heads(heads)[:left])
    with pytest.raises(RunError, match=f"the run's {STAGES} is cut or damaged") as caught:
        read_heads(tmp_path / STAGES)
    assert str(tmp_path) not in str(caught.value)
