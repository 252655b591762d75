import time

import pytest

import tests.hub_server
from tests.hub_server import FRIEND
from tests.publishing.card.cards import telling
from transfer.publishing.card import is_public, licenses
from transfer.publishing.card.license import choose_license, identifier

DIGITS = {"source": "digits", "revision": "scikit-learn 1.9.1"}
CARDS = {
    "some/free": {"license": "cc0-1.0"},
    "some/two": {"license": ["mit", "apache-2.0"]},
    "some/one": {"license": ["mit"]},
    "some/unknown": {"license": "unknown"},
    "some/odd": {"license": "x\ny: z"},
    "some/other": {"license": "other"},
    "some/silent": {},
}


@pytest.fixture
def sets(hub, monkeypatch):
    """A Hub with data sets that tell their licence, as its answers have it."""
    told = tests.hub_server._info
    monkeypatch.setattr(
        tests.hub_server, "_info", lambda its: told(its) | {"cardData": CARDS.get(its.id)}
    )
    for name in CARDS:
        hub.add("datasets", name, {"README.md": b""})
    return hub


def of(run, name: str, weights: str = "hub"):
    return telling(run, source=f"hub:{name}", body={"weights": weights})


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("some/free", "cc0-1.0"),
        ("some/one", "mit"),
        ("some/other", "other"),
        ("some/two", None),
        ("some/unknown", None),
        ("some/odd", None),
        ("some/silent", None),
        ("some/where-nothing-is", None),
    ],
)
def test_the_hub_is_asked_for_a_data_sets_licence(name, licence, run, sets):
    assert licenses(of(run, name)) == ("bsd-3-clause", licence)
    if licence is None:
        terms = choose_license(of(run, name), None)
        assert not terms.metadata and "No licence is stated" in terms.text


def test_known_data_sets_need_no_hub(run, hub):
    hub.requests.clear()
    assert licenses(of(run, "AI-Lab-Makerere/beans")) == ("bsd-3-clause", "mit")
    assert licenses(of(run, "pcuenq/oxford-pets"))[1] == "cc-by-sa-4.0"
    assert licenses(telling(run, **DIGITS))[1] == "cc-by-4.0"
    assert licenses(telling(run, source="photos"))[1] is None
    assert not hub.requests


@pytest.mark.parametrize("mood", ["silent", "busy"])
def test_a_hub_that_does_not_answer_is_not_waited_for(mood, run, sets, impatient):
    with sets.in_mood(mood):
        started = time.monotonic()
        assert licenses(of(run, "some/free"))[1] is None and not is_public(of(run, "some/free"))
        assert time.monotonic() - started < 8


def test_a_permissive_body_leaves_the_images_licence(run, sets):
    for weights in ("hub", "random"):
        assert choose_license(of(run, "some/free", weights), None).metadata == {
            "license": "cc0-1.0"
        }
    terms = choose_license(telling(run, body={"weights": "hub"}, **DIGITS), None)
    assert terms.metadata == {"license": "cc-by-4.0"} and "Alpaydin" in terms.text


def test_a_body_for_research_makes_the_model_for_research(run, sets):
    terms = choose_license(of(run, "some/free", "bundled"), None)
    assert terms.metadata["license"] == "other"
    assert terms.metadata["license_name"] == "imagenet-terms"
    assert "Research only" in terms.text and "licence cc0-1.0" in terms.text


def test_terms_of_their_own_are_linked(run, sets):
    metadata = choose_license(of(run, "some/other"), None).metadata
    assert metadata["license"] == "other" and metadata["license_link"].endswith("/some/other")


def test_a_body_from_a_file_has_unknown_terms(run, sets):
    terms = choose_license(of(run, "some/free", "file:mine.pth"), None)
    assert not terms.metadata and "not recorded" in terms.text


def test_who_names_a_licence_decides(run, sets):
    terms = choose_license(of(run, "some/free", "bundled"), "mit")
    assert terms.metadata == {"license": "mit"} and "Published under **mit**" in terms.text


def test_licences_are_spelled_as_the_hub_does():
    assert identifier(" CC BY-SA 4.0 ") == "cc-by-sa-4.0" and identifier("MIT") == "mit"
    for none in ("licence unknown", "", "a\nb", "x" * 80, "<b>", ["mit"]):
        assert identifier(none) is None


def test_only_what_a_stranger_may_read_is_public(run, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    hub.add("datasets", "some/open", {"README.md": b""})
    hub.add("datasets", "some/private", {"README.md": b""}, private=True)
    hub.add("datasets", "some/gated", {"README.md": b""}, gated="files")
    assert is_public(of(run, "some/open")) and is_public(telling(run, **DIGITS))
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    assert is_public(of(run, "some/open"))
    for name in ("some/private", "some/gated", "some/missing"):
        assert not is_public(of(run, name))
    assert not is_public(telling(run, source="digits", revision="a folder's"))
    assert not is_public(telling(run, source="/home/ada/some/open"))
