import contextlib

import pytest

from tests.tiny import draw_classes
from tests.ui.visitors import ME
from transfer.errors import JobError
from transfer.settings import TrainingSettings
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.uploads import UploadHandlers

PLAIN = TrainingSettings()


@pytest.fixture
def datasets(empty):
    return DataHandlers(UploadHandlers(empty), shared=False)


def shown(datasets, source) -> str:
    (page,) = datasets.show(ME, source)
    return page


def test_a_dataset_is_shown_with_its_classes_and_samples(datasets, tmp_path):
    page = shown(datasets, str(draw_classes(tmp_path / "shapes")))
    assert "shapes: <b>3 classes, 24 images</b>" in page
    assert page.count("<img") == 12
    assert str(tmp_path) not in page


def test_a_dataset_that_cannot_be_opened_is_a_sentence(datasets, hub):
    assert 'class="warning"' in shown(datasets, "nowhere")
    assert "found nothing" in shown(datasets, None)
    with pytest.raises(JobError, match="found nothing"):
        datasets.allowed(ME, "  ")


def test_a_shared_server_opens_no_folder_of_its_own(empty, tmp_path, hub):
    datasets = DataHandlers(UploadHandlers(empty), shared=True)
    page = shown(datasets, str(draw_classes(tmp_path / "shapes")))
    assert 'class="warning"' in page and "<img" not in page
    assert "1,797 images" in shown(datasets, "digits")


def test_a_check_ends_with_the_findings(datasets, tmp_path):
    shapes = draw_classes(tmp_path / "shapes")
    (shapes / "spots" / "broken.png").write_bytes(b"no picture")
    *_, found = datasets.check(ME, str(shapes))
    assert "spots/broken.png" in found


def test_a_limited_number_is_opened_at_once(datasets):
    with contextlib.ExitStack() as busy:
        while datasets._slots.acquire(blocking=False):
            busy.callback(datasets._slots.release)
        assert "opening many datasets" in shown(datasets, "digits")
    assert "1,797 images" in shown(datasets, "digits")


def test_a_local_dataset_is_summarized_and_read_again_after_a_while(datasets, tmp_path):
    folder = draw_classes(tmp_path / "own", each=9)
    dataset, images = datasets.summary(ME, str(folder), PLAIN)
    assert sum(images.values()) == 27 and dataset.train_images == images["train"]
    few = datasets.summary(ME, str(folder), TrainingSettings(limit_per_class=5))[1]
    assert sum(few.values()) == 15
    draw_classes(folder, each=18)
    assert datasets.summary(ME, str(folder), PLAIN)[1] == images
    datasets._summaries[True].seconds = 0.0
    assert sum(datasets.summary(ME, str(folder), PLAIN)[1].values()) == 54


def test_a_hub_dataset_has_a_summary_once_it_was_shown(datasets, stripes, hub, monkeypatch):
    for source in ("user/name", "hub:user/name"):
        assert datasets.summary(ME, source, PLAIN) is None
    assert hub.requests == []
    images = datasets._open(str(stripes), PLAIN)
    monkeypatch.setattr(datasets, "_open", lambda source, settings: images)
    shown(datasets, "user/name")
    assert sum(datasets.summary(ME, "user/name", PLAIN)[1].values()) == 36
