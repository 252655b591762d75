import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from tests.hub_datasets import SHAPES, picture, plain, row_of
from tests.hub_server import FRIEND, STRANGER
from transfer.cache.downloads import open_datasets
from transfer.cache.paths import cache_folder
from transfer.data.dataset import ImageDataset
from transfer.data.image import load_image
from transfer.data.remote.columns import LoadOptions
from transfer.data.remote.dataset import open_hub
from transfer.errors import ImageError, SourceError


def load(name: str, **options) -> ImageDataset:
    return open_hub(name, LoadOptions(**options))


def refusal(name: str, **options) -> str:
    with pytest.raises(SourceError) as caught:
        load(name, **options)
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
    """The name of a dataset that only FRIEND may read: two pictures of each of two classes."""
    name = f"closed/{request.param}_{request.node.name.split('[')[0]}"
    kind = {"gated": "files"} if request.param == "gated" else {"private": True}
    files = {"README.md": b"between us", "train.parquet": plain(0, 1, 1, 0)}
    if request.param == "private_folder":
        places = [("ant", 0), ("ant", 1), ("wasp", 2), ("wasp", 3)]
        files = {f"train/{insect}/{row}.png": picture(row) for insect, row in places}
        files |= {"README.md": b"between us"}
    hub.add("datasets", name, files, **kind)
    return name


def read(split, classes: tuple[str, ...]) -> tuple[dict[int, str], int]:
    """(number of a picture → its class's name, how many could not be read)."""
    seen, broken = {}, 0
    for i in range(len(split)):
        try:
            seen[row_of(load_image(split.read(i)))] = classes[split.labels[i]]
        except ImageError:
            broken += 1
    return seen, broken


@pytest.mark.parametrize("limit", [None, 1_000], ids=["downloaded", "streamed"])
@pytest.mark.parametrize("title", SHAPES)
def test_each_shape_is_read_or_refused(hub, title, limit):
    expected, name = SHAPES[title](), f"shapes/{title.replace(' ', '_')}"
    hub.add("datasets", name, expected.files)
    options = expected.options | {"limit_per_class": limit}
    if expected.refused:
        assert expected.refused in refusal(name, **options)
        return
    images = load(name, **options)
    train = images.splits["train"]
    seen, broken = read(train, images.classes)
    skipped = sum(problem.why == "there is no image in this row" for problem in images.problems)
    assert broken + skipped == len(expected.broken)
    assert seen == {
        row: label
        for row, label in enumerate(expected.labels)
        if label is not None and row not in expected.broken
    }
    assert train.labels.dtype == np.int64 and tuple(images.splits) == expected.splits
    assert expected.problem in problems(images)
    assert images.problems == () or title != "class names"


def test_source_revision_and_row_numbers_are_reported(hub):
    card = b"---\nconfigs:\n- config_name: winter\n  data_files: w.parquet\n---\n"
    files = {"README.md": card, "w.parquet": plain(0, -1, 1)}
    repository = hub.add("datasets", "someone/gaps", files)
    images = load("someone/gaps", config="winter")
    assert (images.source, images.revision) == ("hub:someone/gaps (winter)", repository.sha)
    assert (images.image_column, images.label_column) == ("image", "label")
    assert images.splits["train"].names == ("train row 0", "train row 2")
    assert row_of(load_image(images.splits["train"].read(1))) == 2


def in_shared_cache() -> set[str]:
    """The tables and image files in the folder that the Hub's clients share."""
    kinds = (".arrow", ".parquet", ".png")
    home = Path(os.environ["HF_HOME"])
    return {str(path) for path in home.rglob("*") if path.suffix in kinds}


def test_what_visitors_name_stays_out_of_the_unbounded_cache(hub, monkeypatch):
    hub.add("datasets", "someone/many", {"train.parquet": plain(0, 1, 1, 0)})
    monkeypatch.setenv("SYSTEM", "spaces")
    before = in_shared_cache()
    assert load("someone/many").splits["train"].labels.tolist() == [0, 1, 1, 0]
    assert in_shared_cache() == before
    assert [one.record()["source"] for one in open_datasets().entries()] == ["hub:someone/many"]
    monkeypatch.setenv("SYSTEM", "")
    load("someone/many")
    assert in_shared_cache() > before


def test_a_new_revision_replaces_the_older_one_even_if_it_is_broken(hub):
    first = hub.add("datasets", "someone/new", {"train.parquet": plain(0, 1, 1)})
    assert load("someone/new").revision == first.sha
    second = hub.add("datasets", "someone/new", {"train.parquet": plain(0, 1, 1, 0)})
    images = load("someone/new")
    assert images.revision == second.sha != first.sha
    assert images.counts() == {"train": 4}
    hub.add("datasets", "someone/new", {"README.md": b"all gone"})
    assert "holds nothing" in refusal("someone/new")


@pytest.mark.parametrize("limit", [None, 5])
def test_old_names_are_found_and_a_rename_is_reported(hub, limit):
    hub.add("datasets", "someone/after", {"train.parquet": plain(0, 1)})
    hub.moved["someone/before"] = "someone/after"
    images = load("someone/before", limit_per_class=limit)
    assert images.source == "hub:someone/after"
    assert problems(images) == "hub:someone/before: it is now called 'someone/after'"
    one_word = load("after", limit_per_class=limit)
    assert one_word.source == "hub:someone/after" and one_word.problems == ()


def test_a_local_folder_of_the_same_name_is_not_read(hub, tmp_path, monkeypatch):
    hub.add("datasets", "someone/same", {"train.parquet": plain(0, 1)})
    (tmp_path / "someone/same").mkdir(parents=True)
    (tmp_path / "someone/same/train.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    assert load("someone/same").classes == ("wasp", "ant")


@pytest.mark.parametrize("name", ["someone/nothing", "unheard_of", "a/b/c"])
def test_an_unknown_name_is_refused(hub, name):
    assert f"found none called '{name}'" in refusal(name)


def test_an_invalid_token_is_reported(hub, token):
    hub.add("datasets", "someone/open", {"train.parquet": plain(0, 1)})
    token("hf_expired")
    message = refusal("someone/open")
    assert "status 401" in message and "hf_expired" not in message


@pytest.mark.parametrize("who", [None, STRANGER])
def test_gated_and_private_datasets_say_what_to_do(hub, token, who):
    hub.add("datasets", "gated/one", {"train.parquet": plain(0, 1)}, gated="files")
    hub.add("datasets", "secret/one", {"train.parquet": plain(0, 1)}, private=True)
    token(who)
    gated, private = refusal("gated/one"), refusal("secret/one")
    assert "terms" in gated and "hf auth login" in gated
    assert "found none called 'secret/one'" in private and "hf auth login" in private


@pytest.mark.parametrize("limit", [None, 5])
def test_nobody_else_reads_what_a_friend_has_loaded(hub, closed, token, limit):
    token(None)
    refusal(closed, limit_per_class=limit)
    token(FRIEND)
    images = load(closed, limit_per_class=limit)
    assert images.class_counts() == {"wasp": 2, "ant": 2}
    assert [load_image(images.splits["train"].read(i)).size for i in range(4)] == [(8, 8)] * 4
    for who in (None, STRANGER):
        token(who)
        refusal(closed, limit_per_class=limit)
    token(FRIEND)
    assert load(closed, limit_per_class=limit).class_counts() == {"wasp": 2, "ant": 2}
    with hub.gone():
        assert "does not answer" in refusal(closed, limit_per_class=limit)


def test_private_data_stays_out_of_the_shared_cache(closed, token):
    from huggingface_hub import constants

    shared, name = Path(constants.HF_HOME), closed.split("/")[1]
    card = shared / "hub" / f"datasets--closed--{name}"
    card.mkdir(mode=0o755, parents=True)  # from when it was public
    token(FRIEND)
    load(closed)
    for folder in ("datasets", "private"):
        assert stat.S_IMODE((cache_folder() / folder).stat().st_mode) == 0o700
    saved = [path for path in (cache_folder() / "datasets").rglob("*.*") if path.suffix != ".lock"]
    assert len(saved) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in saved} == {0o600}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in saved} == {0o700}
    for path in shared.rglob("*"):
        if path.is_file() and name in str(path) and ".locks" not in path.parts:
            assert not path.read_bytes().startswith((b"PAR1", b"\x89PNG")), path
    assert stat.S_IMODE(card.stat().st_mode) == 0o700
    assert not list((shared / "datasets").glob(f"*{name}*"))


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("mood", ["busy", "silent", "halfway", "gone"])
def test_a_hub_that_does_not_answer_is_reported_soon(hub, mood, limit, impatient, monkeypatch):
    hub.add("datasets", "someone/there", {"train.parquet": plain(0, 1)})
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the client's own retries
    started = time.monotonic()
    with hub.gone() if mood == "gone" else hub.in_mood(mood):
        message = refusal("someone/there", limit_per_class=limit)
    assert "does not answer" in message and "check the connection" in message
    assert time.monotonic() - started < 5
