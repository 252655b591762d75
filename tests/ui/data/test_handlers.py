import contextlib

import pytest

from tests.tiny import draw_classes
from tests.ui.visitors import ME
from transfer.errors import JobError
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.uploads import UploadHandlers


@pytest.fixture
def sources(empty):
    return DataHandlers(UploadHandlers(empty), shared=False)


def test_a_source_is_shown_with_its_classes_and_samples(sources, tmp_path):
    page = sources.show(ME, str(draw_classes(tmp_path / "shapes")))
    assert "shapes: <b>3 classes, 24 images</b>" in page
    assert page.count("<img") == 12
    assert str(tmp_path) not in page


def test_a_source_that_is_not_there_is_a_sentence(sources, hub):
    assert "no folder or zip is called" in sources.show(ME, "nowhere")
    assert "found nothing" in sources.show(ME, None)


def test_a_shared_server_opens_no_folder_of_its_own(empty, tmp_path, hub):
    sources = DataHandlers(UploadHandlers(empty), shared=True)
    page = sources.show(ME, str(draw_classes(tmp_path / "shapes")))
    assert 'class="warning"' in page and "<img" not in page
    assert "1,797 images" in sources.show(ME, "digits")


def test_looking_ends_with_what_was_found(sources, tmp_path):
    shapes = draw_classes(tmp_path / "shapes")
    (shapes / "spots" / "broken.png").write_bytes(b"no picture")
    *_, found = sources.look(ME, str(shapes))
    assert "spots/broken.png" in found


def test_only_so_many_are_opened_at_once(sources):
    with contextlib.ExitStack() as busy:
        while sources._turns.acquire(blocking=False):
            busy.callback(sources._turns.release)
        assert "opens many sources already" in sources.show(ME, "digits")
    assert "1,797 images" in sources.show(ME, "digits")


def test_a_source_must_be_named(sources):
    with pytest.raises(JobError, match="found nothing"):
        sources.allowed(ME, "  ")
