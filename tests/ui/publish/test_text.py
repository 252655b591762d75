import pytest
from huggingface_hub.utils import validate_repo_id

from tests.ui.publish.test_handlers import CHECKED
from transfer.publishing import Sending, Verifying, Waiting
from transfer.ui.publish import text
from transfer.ui.publish.queue import PublishTask
from transfer.ui.publish.summary import proposed_name


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ((1_160_000, 2_320_000), "1.2 to 2.3 MB"),
        ((12, 12), "1 kB"),
    ],
)
def test_sizes_have_one_unit(sizes, shown):
    assert text.size_of(*sizes) == shown


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("AI-Lab-Makerere/beans", "vgg16-beans"),
        ("日本", "vgg16-run"),
        ("a--b..c.git", "vgg16-a-b.c"),
    ],
)
def test_the_proposed_name_is_valid_on_the_hub(name, proposed):
    assert proposed_name("vgg16", name) == proposed
    validate_repo_id(f"me/{proposed}")


def test_each_event_has_a_status():
    def status(event, **more) -> str:
        page = text.status(PublishTask(event=event, checked=CHECKED, waiting=False, **more))
        assert 'role="status"' in page and 'aria-live="polite"' in page
        return page

    assert "Preparing the files" in status(None)
    assert "Cancelling" in status(CHECKED, stopping=True)
    assert "a new private repository me/vgg11-tiny" in status(CHECKED)
    assert "Sending 14.5 MB" in status(Sending(total_bytes=14_500_000))
    assert "comparing" in status(Verifying())
    assert "Trying again in 3 s" in status(Waiting(seconds=3.2, why="the Hub is busy"))
    failed = status(Verifying(), error="the Hub is gone <b>", live=False)
    assert "Sent, but not verified" in failed and "gone &lt;b&gt;" in failed
