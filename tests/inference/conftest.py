from contextlib import contextmanager

import pytest

import transfer
from transfer.errors import TransferError


@pytest.fixture(scope="session")
def classifier(run):
    return transfer.load(run.path)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A classifier as timm saves it. Shared by all; not to be changed."""
    from tests.tiny_timm import save_vgg  # not sooner: it imports the Hub's client

    folder = tmp_path_factory.mktemp("timm") / "saved"
    return save_vgg(folder, "vgg11_bn", labels=["ant", "bee", "cat", "dog", "eel"])


@contextmanager
def refused(words: str, kind: type = TransferError):
    """An error of one line that has these words and no path."""
    with pytest.raises(kind) as caught:
        yield
    text = str(caught.value)
    assert words in text and "\n" not in text and len(text) < 500
    assert not any(secret in text for secret in ("/tmp", "secret", "hf_"))
