import contextlib

import pytest

from tests.tiny import draw_classes
from tests.ui.conftest import trainings_of
from tests.ui.visitors import ME, teach
from transfer.settings import TrainingSettings
from transfer.ui.data.uploads import PHOTOS

PLAIN = TrainingSettings()


@pytest.fixture
def datasets(empty):
    return trainings_of(empty).datasets


@pytest.fixture
def shapes(tmp_path):
    return draw_classes(tmp_path / "shapes")


def shown(datasets, source) -> str:
    (page,) = datasets.show(ME, source)
    return page


def images_in(datasets, source, settings=PLAIN) -> int:
    return sum(datasets.summary(ME, source, settings)[1].values())


def test_a_dataset_is_shown_with_its_classes_and_samples(datasets, shapes, hub):
    page = shown(datasets, str(shapes))
    assert "shapes: <b>3 classes, 24 images</b>" in page and page.count("<img") == 12
    assert str(shapes) not in page
    assert 'class="warning"' in shown(datasets, "nowhere")
    assert "found nothing" in shown(datasets, None)


def test_only_what_is_at_hand_is_opened_by_choosing_it(datasets, shapes, photo, hub):
    assert "3 classes, 24 images" in next(datasets.look(ME, str(shapes)))
    for source in ("ylecun/mnist", "user/name"):
        assert "Show images" in next(datasets.look(ME, source)) and hub.requests == []
    assert next(datasets.look(ME, PHOTOS)) == ""  # none yet
    teach(datasets.uploads, cat=[photo] * 5, dog=[photo] * 5)
    assert "2 classes, 10 images" in next(datasets.look(ME, PHOTOS))


def test_tiles_and_card_show_pictures_of_what_is_at_hand(datasets, hub):
    assert "<img" not in datasets.tiles(ME) and "<img" not in datasets.card(ME, "digits")
    shown(datasets, "digits")
    assert datasets.tiles(ME).count("<img") == datasets.card(ME, "digits").count("<img") == 3
    assert "10 classes, 70,000 images" in datasets.card(ME, "ylecun/mnist")


def test_a_shared_server_opens_no_folder_of_its_own(empty, shapes, hub):
    datasets = trainings_of(empty, shared=True).datasets
    page = shown(datasets, str(shapes))
    assert 'class="warning"' in page and "<img" not in page
    assert "1,797 images" in shown(datasets, "digits")


def test_a_check_ends_with_the_findings(datasets, shapes):
    (shapes / "spots" / "broken.png").write_bytes(b"no picture")
    *_, found = datasets.check(ME, str(shapes))
    assert "spots/broken.png" in found


def test_a_limited_number_is_opened_at_once(datasets):
    with contextlib.ExitStack() as busy:
        while datasets._slots.acquire(blocking=False):
            busy.callback(datasets._slots.release)
        assert "opening many datasets" in shown(datasets, "digits")
    assert "1,797 images" in shown(datasets, "digits")


def test_a_local_dataset_is_summarized_and_read_again_after_a_while(datasets, shapes):
    source = str(shapes)
    assert images_in(datasets, source) == 24
    assert images_in(datasets, source, TrainingSettings(limit_per_class=5)) == 15
    draw_classes(shapes, each=18)
    assert images_in(datasets, source) == 24
    datasets._summaries[True].seconds = 0.0
    assert images_in(datasets, source) == 54


def test_a_hub_dataset_has_a_summary_once_it_was_shown(datasets, stripes, hub, monkeypatch):
    for source in ("user/name", "hub:user/name"):
        assert datasets.summary(ME, source, PLAIN) is None
    assert hub.requests == []
    images = datasets._open(str(stripes), PLAIN)
    monkeypatch.setattr(datasets, "_open", lambda source, settings: images)
    shown(datasets, "user/name")
    assert images_in(datasets, "user/name") == 36
