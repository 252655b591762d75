import pytest

from tests.hub_server import FRIEND, STRANGER
from tests.hub_writing import READER
from tests.publishing.sending import ID, refused, send


@pytest.mark.parametrize(("name", "full"), [("ME/stripes", ID), ("any", "me/any"), ("team/a",) * 2])
def test_a_bare_name_belongs_to_the_account(name, full, small, writing):
    assert send(small, name, private=False)[1].repository == full
    assert not writing.hub.repositories["models", full].private


@pytest.mark.parametrize(
    ("name", "token", "words"),
    [
        ("you/stripes", FRIEND, "expected an account of yours (me/, team/)"),
        ("me/a/b", FRIEND, "expected a repository name like me/ants-bees"),
        ("me/", FRIEND, "expected a repository name"),
        ("hf_unknown", FRIEND, "what looks like a token"),
        (ID, READER, "does not let this sign-in write"),
        (ID, "hf_unknown", "does not know this token"),
        (ID, "two words", "found other characters"),
    ],
)
def test_what_cannot_succeed_is_refused_before_anything_is_created(
    name, token, words, small, writing
):
    message = refused(small, name, token=token)
    assert words in message and token not in message
    assert not writing.hub.repositories
    assert not any(asked.startswith("PUT") for asked, _ in writing.seen)


def test_without_a_token_nothing_is_asked_and_a_space_does_not_use_its_own(
    small, writing, monkeypatch
):
    assert "found no token" in refused(small, token=None) and not writing.seen
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    assert send(small, token=None)[1].repository == ID
    for variable, value in (("SYSTEM", "spaces"), ("TRANSFER_SHARED", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert "found no token" in refused(small, token="")


def test_a_gated_repository_is_refused(small, writing):
    writing.hub.add("models", ID, {}, gated="all")
    assert "is gated for you" in refused(small, token=STRANGER)
