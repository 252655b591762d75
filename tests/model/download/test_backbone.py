import json
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from tests.hub_cuts import Served, with_length, without_ranges
from tests.tiny import drained
from transfer import hub as hub_module
from transfer.errors import WeightsError
from transfer.model.download.backbone import at_hand, fetching

NAME, FILE = "timm/part.tv_in1k", "model.safetensors"
TENSORS = {"features.0": np.arange(9.0), "head": np.zeros(2_000_000)}
ASKED = (NAME, FILE, None, "features.")


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))


def test_a_part_where_parts_are_to_be_had(hub, cache):
    file = Served(save(TENSORS))
    repository = hub.add("models", NAME, {FILE: file})
    assert at_hand(*ASKED) is None
    told, (path, commit) = drained(fetching(*ASKED))
    assert commit == repository.sha and path.is_relative_to(cache)
    assert told[-1].done_bytes == told[-1].total_bytes == 72 and file.sent_bytes < 5000
    assert load_file(path).keys() == {"features.0"}
    with hub.gone():
        assert at_hand(*ASKED) == (path, commit, "the cache of downloaded bodies")


def test_the_whole_file_where_not(hub, cache, monkeypatch, capsys):
    from huggingface_hub import hf_hub_download

    def slowly(*args, **kwargs) -> str:
        path = hf_hub_download(*args, **kwargs)
        time.sleep(0.1)
        return path

    monkeypatch.setattr(hub_module, "STEP_SECONDS", 0.001)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", slowly)
    repository = hub.add("models", NAME, {FILE: save(TENSORS)})
    with without_ranges(monkeypatch):
        told, (path, commit) = drained(fetching(*ASKED))
    assert commit == repository.sha and not path.is_relative_to(cache)
    assert load_file(path).keys() == TENSORS.keys()
    assert {event.total_bytes for event in told} == {len(save(TENSORS))}
    assert told[-1].done_bytes == len(save(TENSORS))
    assert "%" not in capsys.readouterr().err
    with hub.gone():
        assert at_hand(*ASKED) == (path, commit, "the local Hub cache")


def test_the_whole_file_where_the_tensors_are_strewn(hub):
    entries = {
        f"{'features.' if n % 2 else 'x.'}{n}": {
            "dtype": "F32",
            "shape": [1],
            "data_offsets": [4 * n, 4 * n + 4],
        }
        for n in range(100)
    }
    content = with_length(json.dumps(entries).encode()) + bytes(400)
    hub.add("models", NAME, {FILE: content})
    _, (path, _) = drained(fetching(*ASKED))
    assert path.read_bytes() == content


def test_a_whole_file_in_the_hubs_cache_comes_first(hub):
    from huggingface_hub import hf_hub_download

    repository = hub.add("models", NAME, {FILE: save(TENSORS)})
    drained(fetching(*ASKED))
    path = hf_hub_download(NAME, FILE)
    with hub.gone():
        for revision in (None, repository.sha):
            found = at_hand(NAME, FILE, revision, "features.")
            assert (str(found[0]), found[2]) == (path, "the local Hub cache")


def test_a_whole_file_that_cannot_be_had_is_one_sentence(hub, monkeypatch):
    hub.add("models", NAME, {FILE: save(TENSORS)})
    with without_ranges(monkeypatch), pytest.raises(WeightsError) as caught:
        steps = fetching(*ASKED)
        monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
        drained(steps)
    assert str(caught.value).startswith("the Hub does not answer")


def refuse(*_, **__):
    raise ConnectionRefusedError
