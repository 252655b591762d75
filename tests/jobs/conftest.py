import pytest

from tests.jobs.fake import manager


@pytest.fixture
def jobs(tmp_path):
    """A job manager over an empty folder of runs, with fake workers."""
    with manager(tmp_path / "runs") as found:
        yield found
