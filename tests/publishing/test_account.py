import pytest

from tests.hub_server import FRIEND, STRANGER
from tests.hub_writing import NARROW, OAUTH, READER
from tests.publishing.sending import ID, at, refused, send


@pytest.mark.parametrize("name", ["stripes", "ME/stripes", "me/stripes"])
def test_a_name_means_a_place_of_the_users_own(name, small, writing):
    assert send(small, name)[1].repository == ID


WRONG = {
    "foreign": ("you/stripes", FRIEND, "expected a place of yours (me/, team/, readers/)"),
    "two slashes": ("me/a/b", FRIEND, "expected a repository's name like me/ants-bees"),
    "no name": ("me/", FRIEND, "expected a repository's name"),
    "no owner": ("/x", FRIEND, "expected a repository's name"),
    "strange signs": ("me/ä b", FRIEND, "expected a repository's name"),
    "nothing": ("", FRIEND, "expected a repository's name"),
    "reader": (ID, READER, "found one that only reads"),
    "narrow": (ID, NARROW, "found a fine-grained one without that right"),
    "role": ("readers/x", FRIEND, "may only read there"),
    "unknown token": (ID, "hf_unknown", "does not know this token"),
    "no token": (ID, "two words", "found something with other signs"),
    "broken token": (ID, "hf_ä", "found something with other signs"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_go_well_is_refused_before_anything_is_made(case, small, writing):
    name, token, told = WRONG[case]
    message = refused(small, name, token=token)
    assert told in message and token not in message
    assert not writing.hub.repositories
    assert all(asked.startswith("GET") for asked, _ in writing.seen)


@pytest.mark.parametrize("name", ["me/allowed", "team/any"])
def test_a_fine_grained_token_writes_where_it_may(name, small, writing):
    assert send(small, name, token=NARROW)[1].repository == name


def test_who_is_not_signed_in_is_told_so_without_a_request(small, writing, monkeypatch):
    assert "found no token" in refused(small, token=None)
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    assert send(small, token=None)[1].repository == ID
    monkeypatch.setenv("SPACE_ID", "me/space")
    assert "found no token" in refused(small, token="")


def test_a_gated_and_a_disabled_repository_are_refused(small, writing, monkeypatch):
    import huggingface_hub

    writing.hub.add("models", ID, {}, gated="all")
    assert "is gated for you" in refused(small, token=STRANGER)
    seen = huggingface_hub.HfApi.model_info

    def disabled(self, *args, **more):
        info = seen(self, *args, **more)
        info.disabled = True
        return info

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", disabled)
    assert "has disabled" in refused(small)


def test_a_refusal_says_what_the_hub_says(small, writing):
    number = at(writing, small, "repos/create")
    writing.faults = {number: "403"}
    message = refused(small, token=OAUTH)
    assert "does not let this token write to me/stripes" in message and "status 403" in message
