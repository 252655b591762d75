import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.hub_server import HubServer

# beside the browser's tests, for they share its apps or its fixtures; these need no browser, or one
# that has an app of its own
BESIDE = tuple(f"tests/browser/test_{n}.py" for n in ("api", "privacy", "tokens", "exported_page"))
HUB = pytest.StashKey[HubServer]()
HOME = pytest.StashKey[tempfile.TemporaryDirectory]()
UNSET = (
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "HF_HUB_CACHE",
    "HF_DATASETS_CACHE",
    "HF_TOKEN",
)


def pytest_configure(config):
    """All tests use our own Hub: its clients read these variables when they are imported."""
    config.stash[HUB] = HubServer()
    config.stash[HOME] = tempfile.TemporaryDirectory(prefix="transfer-tests-")
    for name in UNSET:
        os.environ.pop(name, None)
    os.environ |= {
        "HF_ENDPOINT": config.stash[HUB].endpoint,
        "HF_HOME": config.stash[HOME].name,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",  # the server of the tests has only plain storage
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "OMP_WAIT_POLICY": "PASSIVE",  # processes of a test share the cores
    }
    at_once = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_once)))


def pytest_collection_modifyitems(items):
    """Browser tests run first, on one worker: the other one has everything else to do meanwhile."""
    items.sort(key=lambda item: not _in_a_browser(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Two files at a time, but only one with a browser."""
    from xdist.scheduler import LoadFileScheduling

    class OneBrowser(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "browser" if _in_a_browser(nodeid) else super()._split_scope(nodeid)

    return OneBrowser(config, log)


def _in_a_browser(nodeid: str) -> bool:
    return nodeid.startswith("tests/browser/") and not nodeid.startswith(BESIDE)


def pytest_unconfigure(config):
    config.stash[HUB].stop()
    config.stash[HOME].cleanup()


@pytest.fixture
def hub(pytestconfig):
    """The Hub that `huggingface_hub` and `datasets` use, with the repositories that a test adds."""
    server = pytestconfig.stash[HUB]
    server.requests.clear()
    return server


@pytest.fixture
def impatient(monkeypatch):
    """Requests to the Hub time out after a tenth of the usual time."""
    from transfer import hub

    monkeypatch.setattr(hub, "ANSWER_SECONDS", hub.ANSWER_SECONDS / 10)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, empty."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TRANSFER_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def stripes(tmp_path_factory):
    """A folder of three classes with twelve pictures each; not to be changed."""
    from tests.tiny import draw_classes

    return draw_classes(tmp_path_factory.mktemp("stripes") / "stripes", each=12)


@pytest.fixture(scope="session")
def training(stripes, tmp_path_factory):
    """(events, run) of one tiny training on `stripes`, shared by all; not to be changed.

    In a fixed precision: `auto` measures the machine, which may be busy.
    """
    from tests.tiny import TINY, drained
    from transfer.training.recipe import training_events

    out = tmp_path_factory.mktemp("runs") / "stripes"
    return drained(training_events(str(stripes), out=out, **TINY | {"precision": "fp32"}))


@pytest.fixture(scope="session")
def run(training):
    return training[1]


@pytest.fixture
def copied_run(run, tmp_path):
    """A copy of `run` that a test may break."""
    return Path(shutil.copytree(run.path, tmp_path / "copy"))
