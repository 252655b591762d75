import pytest

from tests.tiny import picture
from transfer.data.local.custom import CustomImages
from transfer.errors import SourceError
from transfer.inference import live
from transfer.inference.live import LiveClassifier


@pytest.fixture
def images(tmp_path) -> CustomImages:
    """Three photos of stripes and of waves each."""
    images = CustomImages(tmp_path / "own-photos")
    for kind, name in enumerate(("stripes", "waves")):
        images.add_class(name)
        for number in range(3):
            picture(kind, number).save(tmp_path / "photo.png")
            images.add(name, tmp_path / "photo.png")
    return images


def best(classifier, path) -> str:
    return classifier.classify(path)[0].label


def test_it_answers_from_the_second_class_on(images, tmp_path):
    taught = LiveClassifier()
    photos = images.by_class()
    with pytest.raises(SourceError, match="two classes"):
        taught.classifier({"stripes": photos["stripes"], "waves": []})
    for kind, name in enumerate(("stripes", "waves")):
        picture(kind, 9).save(tmp_path / "new.png")
        assert best(taught.classifier(photos), tmp_path / "new.png") == name


def test_the_features_of_a_photo_are_computed_once(images, monkeypatch):
    computed, features_of = [], live._features_of
    monkeypatch.setattr(
        live, "_features_of", lambda files: computed.extend(files) or features_of(files)
    )
    monkeypatch.setattr(live, "PHOTOS_A_BATCH", 4)
    taught = LiveClassifier()
    steps, others = (taught.read(images.by_class()) for _ in range(2))  # at the same time
    assert [next(steps), *others, *steps] == [(4, 6), (6, 6)]
    first = taught.classifier(images.by_class())
    assert len(computed) == 6 and taught.classifier(images.by_class()) is first
    images.rename_class("waves", "sea")
    assert taught.classifier(images.by_class()).classes == ("stripes", "sea")
    images.add("sea", images.by_class()["sea"][0])
    taught.classifier(images.by_class())
    assert len(computed) == 7


def test_a_photo_that_is_asked_about_is_judged_as_if_it_were_new(images):
    wrong = images.by_class()["stripes"][0]
    images.add("waves", wrong)  # stripes called waves
    photos = images.by_class()
    last = photos["waves"][-1]
    taught = LiveClassifier()
    learned, new = (taught.classifier(photos, without=one).scores(last) for one in ((), [last]))
    assert new[0] > learned[0] and new[0] > 0.5  # stripes, once the wrong label is left out
    assert taught.classifier(photos, without=photos["waves"]).classes == ("stripes", "waves")
