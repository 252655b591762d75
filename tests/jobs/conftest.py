import pytest

from tests.jobs.fake import registry


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "notes.txt"


@pytest.fixture
def running(tmp_path):
    with registry(tmp_path) as found:
        yield found
