from types import SimpleNamespace

import numpy as np
import pytest

from tests.tiny import CLASSES, tiny_network
from transfer.data.dataset import ImageDataset, Split
from transfer.errors import TransferError
from transfer.training import preparation


def test_a_training_that_needs_more_memory_than_is_free_is_refused(monkeypatch):
    def check(images: int, **head) -> None:
        split = Split(labels=np.zeros(images, dtype=np.int64), names=(), read=None)
        splits = dict.fromkeys(("train", "validation", "test"), split)
        dataset = ImageDataset(source="", revision="1", classes=CLASSES, splits=splits)
        training = SimpleNamespace(images=dataset, network=tiny_network(**head))
        preparation._check_memory(training)

    monkeypatch.setattr(preparation, "free_memory", lambda device: 10**8)
    check(20_000)
    with pytest.raises(TransferError, match=r"expected 123 MB of memory for 90,000 images .* 100"):
        check(30_000)
    with pytest.raises(TransferError, match=r"parameters, found 100 MB; .*smaller --head"):
        check(20, hidden=(4096, 1024))
