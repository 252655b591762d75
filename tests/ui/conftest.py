import shutil

import pytest

from tests.tiny import picture
from transfer.jobs import JobManager

SAYS_NOTHING = ("sh", "-c", "cat > /dev/null")  # a worker that waits until its input ends


def trainings_of(jobs: JobManager, *, shared: bool = False):
    # imported here, as gradio imports huggingface_hub, which reads the address of the test's Hub
    from transfer.ui.data.handlers import DataHandlers
    from transfer.ui.data.uploads import UploadHandlers
    from transfer.ui.train.handlers import TrainHandlers

    return TrainHandlers(jobs, DataHandlers(UploadHandlers(jobs), shared=shared))


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory, training):
    """A folder of runs that holds one, called `tiny`."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(training[1].path, folder / "tiny")
    return folder


@pytest.fixture
def manage():
    """Makes job managers whose workers do nothing."""
    made = []

    def manage(folder, **options) -> JobManager:
        made.append(JobManager(folder, command=SAYS_NOTHING, **options))
        return made[-1]

    yield manage
    for jobs in made:
        jobs.close()


@pytest.fixture
def empty(tmp_path, manage):
    """A job manager over a folder without runs."""
    return manage(tmp_path / "runs")


@pytest.fixture
def jobs(runs_folder):
    """A job manager over that folder, whose workers do nothing."""
    jobs = JobManager(runs_folder, command=SAYS_NOTHING)
    yield jobs
    jobs.close()
    shutil.rmtree(runs_folder / ".jobs")  # so that the next test has no jobs


@pytest.fixture
def gradio_folder(tmp_path, monkeypatch):
    """The folder from which gradio serves files."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    return tmp_path / "gradio"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    picture(1, 0).resize((50, 70)).save(path)
    return path
