import pytest

from tests.tiny import draw_classes
from tests.ui.visitors import ME
from transfer.data.source import load_splits
from transfer.errors import SourceError
from transfer.settings import TrainingSettings
from transfer.ui.data import summaries
from transfer.ui.data.handlers import DataHandlers
from transfer.ui.data.summaries import SummaryCache
from transfer.ui.data.uploads import UploadHandlers

PLAIN = TrainingSettings()


def test_what_is_on_this_machine_is_opened_and_then_remembered(stripes, monkeypatch):
    known = SummaryCache()
    look, images = known.of(str(stripes), PLAIN)
    assert sum(images.values()) == 36 and look.train_images == images["train"]
    monkeypatch.setattr(summaries, "load_splits", None)
    assert known.of(str(stripes), PLAIN) == (look, images)


def test_after_a_while_it_is_opened_again(tmp_path, monkeypatch):
    folder, known = draw_classes(tmp_path / "own", each=9), SummaryCache()
    before = known.of(str(folder), PLAIN)[1]
    draw_classes(folder, each=18)
    assert known.of(str(folder), PLAIN)[1] == before
    monkeypatch.setattr(summaries, "SECONDS_KNOWN", -1.0)
    assert sum(known.of(str(folder), PLAIN)[1].values()) == 2 * sum(before.values())


def test_fewer_images_a_class_are_another_source(stripes):
    few = SummaryCache().of(str(stripes), TrainingSettings(limit_per_class=5))[1]
    assert sum(few.values()) < 36


def test_the_hub_is_not_asked(hub):
    for source in ("user/name", "hub:user/name"):
        assert SummaryCache().of(source, PLAIN) is None
    assert hub.requests == []


def test_what_data_has_shown_is_known(empty, stripes):
    sources = DataHandlers(UploadHandlers(empty), shared=False)
    known = SummaryCache()
    known.remember("hub:user/name", load_splits(str(stripes), PLAIN))
    assert sum(known.of("hub:user/name", PLAIN)[1].values()) == 36
    sources.show(ME, str(stripes))
    assert sources.looks._seen


def test_what_cannot_be_opened_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError):
        SummaryCache().of(str(tmp_path / "empty"), PLAIN)


def test_the_memory_has_an_end(stripes, monkeypatch):
    monkeypatch.setattr(summaries, "MOST_SOURCES", 3)
    known, images = SummaryCache(), load_splits(str(stripes), PLAIN)
    for number in range(9):
        known.remember(f"hub:user/{number}", images)
    assert known.of("hub:user/0", PLAIN) is None
    assert known.of("hub:user/8", PLAIN) is not None
