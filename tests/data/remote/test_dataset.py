import errno
import io
import os
import stat
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.hub_datasets import picture, plain
from tests.hub_server import FRIEND, STRANGER
from transfer import hub as asking
from transfer.cache.downloads import open_data_sets
from transfer.cache.paths import cache_folder
from transfer.data.image import load_image
from transfer.data.remote.dataset import open_hub
from transfer.errors import CacheError, SourceError


def colours(labels) -> list[Image.Image]:
    """One flat 8 px picture a label: its colour tells the row it came from."""
    return [Image.new("RGB", (8, 8), (10 * row % 256, 0, 0)) for row, _ in enumerate(labels)]


def parquet(labels, *, classes=None, image="image", label="label", **more) -> bytes:
    """A Parquet file of pictures and labels as `datasets` writes it."""
    import datasets

    columns = {image: colours(labels), label: labels} | more
    table = datasets.Dataset.from_dict(columns).cast_column(image, datasets.Image())
    if classes:
        table = table.cast_column(label, datasets.ClassLabel(names=classes))
    file = io.BytesIO()
    table.to_parquet(file)
    return file.getvalue()


def refusal(name: str, **options) -> str:
    with pytest.raises(SourceError) as caught:
        open_hub(name, **options)
    message = str(caught.value)
    assert "\n" not in message and "/tmp" not in message and "http" not in message
    assert FRIEND not in message
    return message


def problems(images) -> str:
    return "; ".join(f"{problem.where}: {problem.why}" for problem in images.problems)


@pytest.fixture
def token(monkeypatch):
    """Sign in as somebody, or as nobody."""

    def sign_in(token: str | None) -> None:
        if token is None:
            monkeypatch.delenv("HF_TOKEN", raising=False)
        else:
            monkeypatch.setenv("HF_TOKEN", token)

    return sign_in


@pytest.fixture(params=["private", "gated", "private_folder"])
def closed(request, hub):
    """The name of a data set that only FRIEND may read: two pictures of each of two classes."""
    name = f"closed/{request.param}_{request.node.name.split('[')[0]}"
    kind = {"gated": "files"} if request.param == "gated" else {"private": True}
    files = {"README.md": b"between us", "train.parquet": plain(0, 1, 1, 0)}
    if request.param == "private_folder":
        places = [("ant", 0), ("ant", 1), ("wasp", 2), ("wasp", 3)]
        files = {f"train/{insect}/{row}.png": picture(row) for insect, row in places}
        files |= {"README.md": b"between us"}
    hub.add("datasets", name, files, **kind)
    return name


def test_images_keep_their_order_and_say_where_they_are_from(hub):
    labels = [0, 1, 1, 0, 1, 0]
    repository = hub.add("datasets", "someone/insects", {"train.parquet": plain(*labels)})
    images = open_hub("someone/insects")
    assert (images.source, images.revision) == ("hub:someone/insects", repository.sha)
    assert (images.image_column, images.label_column) == ("image", "label")
    assert images.splits["train"].labels.tolist() == labels
    assert images.splits["train"].names[4] == "train row 4"
    reds = [load_image(images.splits["train"].read(i)).getpixel((0, 0))[0] for i in range(6)]
    assert reds == [0, 1, 2, 3, 4, 5]


def test_of_what_strangers_name_nothing_comes_into_the_cache_without_a_bound(hub, monkeypatch):
    labels = [0, 1, 1, 0, 1, 0]
    hub.add("datasets", "someone/many", {"train.parquet": plain(*labels)})
    monkeypatch.setenv("SYSTEM", "spaces")
    before = in_shared_cache()
    images = open_hub("someone/many")
    assert images.splits["train"].labels.tolist() == labels and images.source == "hub:someone/many"
    assert in_shared_cache() == before
    assert [one.known()["source"] for one in open_data_sets().entries()] == ["hub:someone/many"]
    monkeypatch.setenv("SYSTEM", "")
    open_hub("someone/many")
    assert in_shared_cache() > before


def test_a_stranger_s_data_set_that_is_larger_than_the_cache_is_refused(hub, monkeypatch):
    hub.add("datasets", "someone/huge", {"train.parquet": plain(0, 1, 1, 0)})
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("TRANSFER_CACHE_GB", "0.0000001")
    with pytest.raises(CacheError, match=r"for more images of a dataset.*smaller dataset"):
        open_hub("someone/huge")
    assert open_data_sets().entries() == []


def in_shared_cache() -> set[str]:
    """The tables and image files in the folder that the Hub's clients share."""
    kinds = (".arrow", ".parquet", ".png")
    home = Path(os.environ["HF_HOME"])
    return {str(path) for path in home.rglob("*") if path.suffix in kinds}


def test_a_row_keeps_its_number_where_others_are_left_out(hub):
    hub.add("datasets", "someone/gaps", {"train.parquet": plain(0, -1, 1)})
    split = open_hub("someone/gaps").splits["train"]
    assert split.names == ("train row 0", "train row 2")
    assert load_image(split.read(1)).getpixel((0, 0)) == (2, 0, 0)


def test_a_config_is_named_in_the_source(hub):
    card = b"---\nconfigs:\n- config_name: winter\n  data_files: w.parquet\n---\n"
    hub.add("datasets", "someone/seasons", {"README.md": card, "w.parquet": plain(0, 1)})
    assert open_hub("someone/seasons", config="winter").source == "hub:someone/seasons (winter)"


def test_a_new_revision_is_seen(hub):
    first = hub.add("datasets", "someone/new", {"train.parquet": plain(0, 1, 1)})
    assert open_hub("someone/new").revision == first.sha
    second = hub.add("datasets", "someone/new", {"train.parquet": plain(0, 1, 1, 0)})
    images = open_hub("someone/new")
    assert images.revision == second.sha != first.sha
    assert images.counts() == {"train": 4}


def test_an_older_revision_on_this_machine_does_not_stand_in_for_a_broken_one(hub):
    hub.add("datasets", "someone/worse", {"train.parquet": plain(0, 1, 1)})
    open_hub("someone/worse")
    hub.add("datasets", "someone/worse", {"README.md": b"all gone"})
    assert "holds nothing" in refusal("someone/worse")


def test_one_word_finds_its_owner(hub):
    hub.add("datasets", "someone/old", {"train.parquet": plain(0, 1)})
    images = open_hub("old")
    assert images.source == "hub:someone/old" and images.problems == ()
    assert open_hub("old", limit_per_class=5).source == "hub:someone/old"


@pytest.mark.parametrize("limit", [None, 5])
def test_a_renamed_set_is_found_and_told(hub, limit):
    hub.add("datasets", "someone/after", {"train.parquet": plain(0, 1)})
    hub.moved["someone/before"] = "someone/after"
    images = open_hub("someone/before", limit_per_class=limit)
    assert images.source == "hub:someone/after"
    assert problems(images) == "hub:someone/before: it is now called 'someone/after'"


def test_a_local_folder_of_the_same_name_is_not_taken(hub, tmp_path, monkeypatch):
    hub.add("datasets", "someone/same", {"train.parquet": plain(0, 1)})
    (tmp_path / "someone/same").mkdir(parents=True)
    (tmp_path / "someone/same/train.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    assert open_hub("someone/same").classes == ("wasp", "ant")


@pytest.mark.parametrize("name", ["someone/nothing", "unheard_of", "no such name", "a/b/c"])
def test_an_unknown_set_is_told(hub, name, token):
    assert f"found none called '{name}'" in refusal(name)
    token(FRIEND)
    assert f"found none called '{name}'" in refusal(name)


def test_a_token_that_is_not_valid_is_told(hub, token):
    hub.add("datasets", "someone/open", {"train.parquet": plain(0, 1)})
    token("hf_expired")
    message = refusal("someone/open")
    assert "status 401" in message and "sign in again" in message and "hf_expired" not in message


@pytest.mark.parametrize("gated", ["all", "files"])
def test_a_gated_set_says_that_its_terms_come_first(hub, gated, token):
    hub.add("datasets", f"gated/{gated}", {"train.parquet": plain(0, 1)}, gated=gated)
    for who in (None, STRANGER):
        token(who)
        message = refusal(f"gated/{gated}")
        assert "terms" in message and "hf auth login" in message and f"gated/{gated}" in message


def test_a_private_set_says_that_one_may_have_to_sign_in(hub, token):
    hub.add("datasets", "secret/one", {"train.parquet": plain(0, 1)}, private=True)
    for who in (None, STRANGER):
        token(who)
        message = refusal("secret/one")
        assert "found none called 'secret/one'" in message and "hf auth login" in message


@pytest.mark.parametrize("limit", [None, 5])
def test_nobody_else_reads_what_a_friend_has_loaded(closed, token, limit):
    token(FRIEND)
    images = open_hub(closed, limit_per_class=limit)
    assert images.class_counts() == {"wasp": 2, "ant": 2}
    assert [load_image(images.splits["train"].read(i)).size for i in range(4)] == [(8, 8)] * 4
    for who in (None, STRANGER):
        token(who)
        refusal(closed, limit_per_class=limit)
    token(FRIEND)
    assert open_hub(closed, limit_per_class=limit).class_counts() == {"wasp": 2, "ant": 2}


def test_a_friend_may_come_after_a_refusal(closed, token):
    token(None)
    refusal(closed)
    token(FRIEND)
    assert open_hub(closed).counts() == {"train": 4}


def test_without_the_hub_nothing_closed_is_read(hub, closed, token):
    token(FRIEND)
    open_hub(closed, limit_per_class=5)
    with hub.gone():
        assert "does not answer" in refusal(closed, limit_per_class=5)


def test_of_a_closed_set_nothing_lies_where_others_of_the_machine_look(closed, token):
    from huggingface_hub import constants

    shared, name = Path(constants.HF_HOME), closed.split("/")[1]
    card = shared / "hub" / f"datasets--closed--{name}"
    card.mkdir(mode=0o755, parents=True)  # from when it was open
    token(FRIEND)
    open_hub(closed)
    for folder in ("taken", "private"):
        assert stat.S_IMODE((cache_folder() / folder).stat().st_mode) == 0o700
    kept = [path for path in (cache_folder() / "taken").rglob("*.*") if path.suffix != ".lock"]
    assert len(kept) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in kept} == {0o700}
    for path in shared.rglob("*"):
        if path.is_file() and name in str(path) and ".locks" not in path.parts:
            assert not path.read_bytes().startswith((b"PAR1", b"\x89PNG")), path
    assert stat.S_IMODE(card.stat().st_mode) == 0o700
    assert not list((shared / "datasets").glob(f"*{name}*"))


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("mood", ["busy", "silent"])
def test_a_hub_that_does_not_answer_is_told_soon(hub, mood, limit, impatient):
    hub.add("datasets", "someone/there", {"train.parquet": plain(0, 1)})
    started = time.monotonic()
    with hub.in_mood(mood):
        assert "does not answer" in refusal("someone/there", limit_per_class=limit)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("name", ["someone/there", "mnist"])
def test_a_hub_that_is_not_there_is_told_soon(hub, name):
    started = time.monotonic()
    with hub.gone():
        message = refusal(name)
    assert "does not answer" in message and "check the connection" in message
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("limit", [None, 5])
def test_a_hub_that_fails_halfway_is_told(hub, monkeypatch, limit):
    hub.add("datasets", "someone/half", {"train.parquet": plain(0, 1)})
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the client's own retries
    with hub.in_mood("halfway"):
        assert "does not answer" in refusal("someone/half", limit_per_class=limit)


@pytest.mark.parametrize("limit", [None, 5])
def test_a_hub_that_falls_silent_halfway_is_given_up(hub, monkeypatch, limit):
    monkeypatch.setattr(asking, "PING_SECONDS", 0.3)
    hub.add("datasets", f"someone/tired{limit}", {"train.parquet": plain(0, 1)})
    started = time.monotonic()
    with hub.in_mood("tired"):
        assert "does not answer" in refusal(f"someone/tired{limit}", limit_per_class=limit)
        assert time.monotonic() - started < 10
    for thread in threading.enumerate():
        if thread.name == "hub":  # given up, but still there until its own timeouts end it
            thread.join(30)


def test_a_full_disk_is_told(hub, monkeypatch):
    import datasets

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    hub.add("datasets", "someone/huge", {"train.parquet": plain(0, 1)})
    monkeypatch.setattr(datasets.DatasetBuilder, "download_and_prepare", full)
    message = refusal("someone/huge")
    assert "expected room on the disk" in message and "--limit-per-class" in message
