import json
from dataclasses import replace

import numpy as np

from tests.data.checks.pictures import copied, photo, photos, saved, source
from tests.waiting import Threads
from transfer.data.checks.inspect import inspect, inspection_events
from transfer.data.dataset import DataIssue


def clean(**more) -> dict:
    """Splits in which nothing is wrong, and what a test adds to them."""
    splits = {
        "train": photos("cat", range(6)) + photos("dog", range(10, 16)),
        "validation": photos("cat", range(40, 43)) + photos("dog", range(50, 53)),
        "test": photos("cat", range(20, 26)) + photos("dog", range(30, 36)),
    }
    return {name: rows + more.get(name, []) for name, rows in splits.items()}


def issues(findings) -> list[tuple[str, str]]:
    return [(problem.where, problem.why) for problem in findings.problems]


def test_a_clean_dataset_is_counted_with_progress_and_has_no_problems():
    events = []
    found = inspect(source(**clean()), events.append)
    assert [(event.done, event.total) for event in events] == [(16, 30), (30, 30)]
    assert found.problems == ()
    assert found.counts["cat"] == {"train": 6, "validation": 3, "test": 6}
    assert (found.duplicates.groups, found.duplicates.compared) == (0, 30)


def test_the_json_holds_the_contract_and_more():
    images = source(("dog", "cat"), **clean(test=[("dog", photo(0))]))
    found = inspect(replace(images, image_column="img", label_column="y"))
    data = json.loads(json.dumps(found.to_json()))
    names = ("source", "revision", "image_column", "label_column")
    assert [data[name] for name in names] == ["here", "1", "img", "y"]
    assert data["splits"] == {"train": 12, "validation": 6, "test": 13}
    assert data["classes"] == {"dog": 16, "cat": 15}
    assert [set(problem) for problem in data["problems"]] == [{"where", "why"}] * 2
    assert data["duplicates"]["leaks"] == data["duplicates"]["two_labels"] == 1
    assert data["balance"]["largest"] == ["dog", 6] and data["sizes"]["median"] == 90


def test_unreadable_pictures_are_reported_after_the_dataset_s_own_problems():
    before = DataIssue(where="cat/notes.txt", why="not named as an image")
    broken = [("cat", b""), ("dog", b"<html>"), ("dog", saved(photo(3))[:60])]
    images = source(**clean(train=broken, test=broken[:1]))
    found = inspect(replace(images, problems=(before,)))
    where, why = zip(*issues(found)[1:], strict=True)
    assert found.problems[0] == before
    assert where == ("train/cat/12", "train/dog/13", "train/dog/14", "test/cat/12")
    assert "empty" in why[0] and "web page" in why[1] and "save it again" in why[2]
    assert found.splits["train"] == 15 and found.duplicates.compared == 30
    nothing = inspect(source(train=[("cat", b"")] * 5 + [("dog", b"")] * 5))
    assert nothing.sizes is None and len(nothing.problems) == 12


def test_small_and_uneven_classes_are_reported():
    rows = photos("cat", range(12)) + photos("dog", range(10, 14)) + [("dog", b"")]
    found = inspect(source(("cat", "dog", "fox"), train=rows))
    few = [(where, why[:17]) for where, why in issues(found) if where.startswith("class ")]
    assert few == [("class 'dog'", "4 readable images"), ("class 'fox'", "0 readable images")]
    rows = photos("cat", range(15)) + photos("dog", range(50, 54))
    found = inspect(source(train=rows, test=photos("dog", range(60, 70))))
    assert issues(found)[0][1].startswith("4 readable images in train")
    assert issues(found)[1][1].startswith("uneven: 15 training images of 'cat', 4 of 'dog'")
    assert found.balance.uneven


def test_classes_that_differ_only_in_capitals_are_named():
    rows = [(f"{name}", picture) for name in ("cat", "Cat") for _, picture in photos("x", range(6))]
    found = inspect(source(("Cat", "cat", "dog"), train=rows + photos("dog", range(20, 26))))
    assert ("classes", "'Cat' and 'cat' differ only") in [(w, why[:27]) for w, why in issues(found)]


def test_sizes_are_those_of_the_files_and_odd_ones_are_reported(tmp_path):
    large = tmp_path / "large.jpg"
    photo(0, 1200, 2400).save(large)
    odd = [("cat", photo(60, 31, 50)), ("cat", np.asarray(photo(61, 20, 20)))]
    odd += [("dog", photo(62, 400, 100)), ("dog", large), ("dog", saved(photo(63, 399, 100)))]
    found = inspect(source(**clean(train=odd)))
    assert (found.sizes.smallest, found.sizes.median, found.sizes.largest) == (20, 90, 2400)
    assert (found.sizes.tiny, found.sizes.long) == (2, 1)
    assert issues(found)[0][0] == "train/cat/12 and 1 more" and "under 32 px" in issues(found)[0][1]
    assert issues(found)[1][0] == "train/dog/14" and "4 times as long" in issues(found)[1][1]


def test_held_out_copies_of_training_pictures_are_leaks():
    copies = [("cat", saved(photo(2))), ("dog", copied(photo(11), 0.6, 60))]
    found = inspect(source(**clean(validation=copies[:1], test=copies)))
    high = "so the test accuracy will be too high"
    assert issues(found) == [
        ("train/cat/2", f"the same picture as test/cat/12, {high}"),
        ("train/dog/7", f"nearly the same picture as test/dog/13, {high}"),
    ]
    counted = found.duplicates
    assert (counted.groups, counted.exact, counted.leaks, counted.two_labels) == (2, 1, 2, 0)
    both = inspect(source(**clean(validation=[("cat", photo(70))], test=[("cat", photo(70))])))
    assert (both.duplicates.groups, both.duplicates.leaks, both.problems) == (1, 0, ())


def test_two_labels_of_a_picture_and_copies_within_a_split_are_reported():
    found = inspect(source(**clean(train=[("dog", photo(2))])))
    why = "the same picture as train/dog/12, but labelled 'cat' here and 'dog' there"
    assert issues(found)[0] == ("train/cat/2", why)
    assert (found.duplicates.two_labels, found.duplicates.leaks) == (1, 0)
    more = [("cat", photo(0)), ("cat", copied(photo(1), 0.8)), ("cat", photo(0))]
    found = inspect(source(**clean(train=more)))
    why = "3 duplicate images, for example train/cat/12 of train/cat/0"
    assert issues(found) == [("split 'train'", why)]
    alone = inspect(source(train=clean(train=more[:1])["train"]))
    assert "validation and test are drawn from train" in issues(alone)[0][1]


def test_too_many_similar_images_are_reported_as_not_compared(monkeypatch):
    monkeypatch.setattr("transfer.data.checks.fingerprints.MOST_CANDIDATES", 0)
    found = inspect(source(**clean(train=[("cat", copied(photo(0), 0.9))])))
    assert not found.duplicates.complete
    assert any("too many images look alike" in why for _, why in issues(found))


def test_closing_it_stops_its_threads():
    threads = Threads()
    rows = photos("cat", range(100)) + photos("dog", range(100, 110))
    events = inspection_events(source(train=rows))
    next(events)
    assert threads.alive
    events.close()
    assert not threads.alive
