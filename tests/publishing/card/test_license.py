import time

import pytest

import tests.hub_server
from tests.hub_server import FRIEND
from tests.publishing.card.cards import edited
from transfer.publishing.card import choose_license, is_public, licenses

DIGITS = {"source": "digits", "revision": "scikit-learn 1.9.1"}
DATASETS = {
    "some/free": ({"license": "cc0-1.0"}, "cc0-1.0"),
    "some/one": ({"license": ["mit"]}, "mit"),
    "some/two": ({"license": ["mit", "apache-2.0"]}, None),
    "some/odd": ({"license": "x\ny: z"}, None),
    "some/other": ({"license": "other"}, "other"),
    "some/silent": ({}, None),
}


@pytest.fixture
def sets(hub, monkeypatch):
    """A Hub with datasets that state their licenses."""
    info = tests.hub_server._info
    cards = {name: card for name, (card, _) in DATASETS.items()}
    monkeypatch.setattr(
        tests.hub_server, "_info", lambda its: info(its) | {"cardData": cards.get(its.id)}
    )
    for name in cards:
        hub.add("datasets", name, {"README.md": b""})
    return hub


def of(run, name: str, weights: str = "hub"):
    return edited(run, source=f"hub:{name}", body={"weights": weights})


def test_the_hub_is_asked_for_a_datasets_license(run, sets):
    for name, (_, license) in DATASETS.items():
        assert licenses(of(run, name)) == ("bsd-3-clause", license), name
    assert licenses(of(run, "some/missing"))[1] is None
    sets.requests.clear()
    assert licenses(of(run, "AI-Lab-Makerere/beans")) == ("bsd-3-clause", "mit")
    assert licenses(edited(run, **DIGITS))[1] == "cc-by-4.0"
    assert licenses(edited(run, source="photos"))[1] is None
    assert not sets.requests, "presets and own images need no Hub"


def test_a_hub_that_does_not_answer_is_not_waited_for(run, sets, impatient):
    with sets.in_mood("silent"):
        started = time.monotonic()
        assert licenses(of(run, "some/free"))[1] is None and not is_public(of(run, "some/free"))
        assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    ("name", "weights", "chosen", "metadata", "words"),
    [
        ("some/free", "hub", None, {"license": "cc0-1.0"}, "license of the training images"),
        ("some/free", "bundled", None, {"license": "cc0-1.0"}, "with the attribution below"),
        ("some/free", "bundled", "mit", {"license": "mit"}, "Published under **mit**"),
        ("some/free", "file:mine.pth", None, {}, "not recorded"),
        ("some/two", "hub", None, {}, "No license is stated"),
        ("some/other", "hub", None, {"license": "other"}, "/some/other)"),
    ],
)
def test_the_license_follows_from_body_and_images(
    name, weights, chosen, metadata, words, run, sets
):
    terms = choose_license(of(run, name, weights), chosen)
    assert metadata.items() <= terms.metadata.items() and bool(metadata) == bool(terms.metadata)
    assert words in terms.text


@pytest.mark.parametrize("chosen", [None, "mit"])
def test_the_authors_of_the_bundled_body_are_named_under_any_license(chosen, run):
    for source in (DIGITS, {"source": "photos"}):
        text = choose_license(edited(run, body={"weights": "bundled"}, **source), chosen).text
        for words in ("Simonyan", "Zisserman", "/licenses/by/4.0/", "abs/1409.1556", "Changes:"):
            assert words in text


def test_public_is_only_what_a_stranger_may_see(run, hub, monkeypatch):
    hub.add("datasets", "some/open", {"README.md": b""})
    hub.add("datasets", "some/private", {"README.md": b""}, private=True)
    hub.add("datasets", "some/gated", {"README.md": b""}, gated="files")
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    assert is_public(of(run, "some/open")) and is_public(edited(run, **DIGITS))
    for name in ("some/private", "some/gated", "some/missing"):
        assert not is_public(of(run, name))
    assert not is_public(edited(run, source="digits", revision="a folder's"))
    assert not is_public(edited(run, source="/home/ada/some/open"))
