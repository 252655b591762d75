import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from PIL import Image

from tests.data.checks.pictures import copied, photo, photos, saved, source
from tests.waiting import Threads
from transfer.data.checks.inspect import inspect, inspection_events
from transfer.data.dataset import DataIssue
from transfer.data.local.digits import open_digits
from transfer.errors import SourceError

CATS, DOGS, TEST_CATS, TEST_DOGS = range(0, 6), range(10, 16), range(20, 26), range(30, 36)


def clean(**more) -> dict:
    """Splits in which nothing is wrong, and what a test adds to them."""
    splits = {
        "train": photos("cat", CATS) + photos("dog", DOGS),
        "validation": photos("cat", range(40, 43)) + photos("dog", range(50, 53)),
        "test": photos("cat", TEST_CATS) + photos("dog", TEST_DOGS),
    }
    return {name: rows + more.get(name, []) for name, rows in splits.items()}


def told(findings) -> list[tuple[str, str]]:
    return [(problem.where, problem.why) for problem in findings.problems]


def test_a_clean_source_is_counted_and_has_no_problems():
    found = inspect(source(**clean()))
    assert found.problems == ()
    assert found.splits == {"train": 12, "validation": 6, "test": 12}
    assert found.classes == {"cat": 15, "dog": 15}
    assert found.counts["cat"] == {"train": 6, "validation": 3, "test": 6}
    assert found.duplicates.groups == 0
    assert (found.duplicates.compared, found.duplicates.complete) == (30, True)


def test_classes_and_splits_keep_their_order():
    images = source(("zebra", "ant"), test=photos("ant", [1]), train=photos("zebra", [2]))
    assert list(inspect(images).classes) == ["zebra", "ant"]
    assert list(inspect(images).splits) == ["test", "train"]
    assert inspect(images).counts["ant"] == {"test": 1, "train": 0}


def test_the_json_holds_the_contract_and_more():
    leak = [("dog", photo(0))]
    found = inspect(replace(source(**clean(test=leak)), image_column="img", label_column="y"))
    data = json.loads(json.dumps(found.to_json()))
    assert {
        name: data[name] for name in ("source", "revision", "image_column", "label_column")
    } == {
        "source": "here",
        "revision": "1",
        "image_column": "img",
        "label_column": "y",
    }
    assert data["splits"] == found.splits and data["classes"] == found.classes
    assert [set(problem) for problem in data["problems"]] == [{"where", "why"}] * 2
    assert data["duplicates"]["listed"][0]["images"] == [
        {"name": "train/cat/0", "split": "train", "label": "cat"},
        {"name": "test/dog/12", "split": "test", "label": "dog"},
    ]
    assert data["balance"]["largest"] == ["cat", 6]
    assert data["sizes"]["median"] == 90


def test_findings_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        inspect(source(**clean())).source = "there"


def test_what_the_source_told_comes_first():
    before = DataIssue(where="cat/notes.txt", why="not named as an image")
    images = source(**clean(train=[("cat", b"")]))
    found = inspect(replace(images, problems=(before,)))
    assert found.problems[0] == before
    assert [where for where, _ in told(found)] == [
        "cat/notes.txt",
        "train/cat/12",
    ]


def test_every_picture_that_cannot_be_read_is_told_with_its_reason():
    broken = [("cat", b""), ("dog", b"<html>"), ("dog", saved(photo(3))[:60])]
    found = inspect(source(**clean(train=broken, test=broken[:1])))
    where, why = zip(*told(found), strict=True)
    assert where == ("train/cat/12", "train/dog/13", "train/dog/14", "test/cat/12")
    assert "empty" in why[0] and "web page" in why[1] and "save it anew" in why[2]
    assert found.splits["train"] == 15
    assert found.duplicates.compared == 30


def test_where_nothing_can_be_read_all_of_it_is_told():
    found = inspect(source(train=[("cat", b"")] * 5 + [("dog", b"")] * 5))
    assert found.sizes is None
    assert len([where for where, _ in told(found) if where.startswith("train/")]) == 10
    assert (
        "class 'cat'",
        "0 images that can be read; at least five are wanted",
    ) in told(found)


@pytest.mark.parametrize("classes", [("cat",), ()])
def test_fewer_than_two_classes_are_refused_before_anything_is_read(classes):
    images = source(**clean())
    with pytest.raises(SourceError, match=r"at least 2 classes, found (cat|none)"):
        inspect(replace(images, classes=classes))


def test_classes_with_few_pictures_that_can_be_read_are_told():
    rows = photos("cat", CATS) + photos("dog", range(10, 14)) + [("dog", b"")] + photos("emu", [30])
    found = inspect(source(("cat", "dog", "emu", "fox"), train=rows))
    assert told(found)[1:] == [
        ("class 'dog'", "4 images that can be read; at least five are wanted"),
        ("class 'emu'", "1 image that can be read; at least five are wanted"),
        ("class 'fox'", "0 images that can be read; at least five are wanted"),
    ]


def test_pictures_to_train_on_are_what_counts_where_there_are_several_splits():
    train = photos("cat", CATS) + photos("dog", range(10, 14))
    found = inspect(source(train=train, test=photos("dog", TEST_DOGS)))
    assert told(found) == [
        ("class 'dog'", "4 images that can be read in train; at least five are wanted")
    ]
    found = inspect(source(validation=train, test=photos("dog", TEST_DOGS)))
    assert told(found) == []


@pytest.mark.parametrize(("cats", "uneven"), [(14, False), (15, True), (25, True)])
def test_uneven_classes_are_told_with_their_numbers(cats, uneven):
    rows = photos("cat", range(cats)) + photos("dog", range(50, 55))
    found = inspect(source(train=rows, test=photos("cat", range(60, 99))))
    assert found.balance.uneven is uneven
    assert (found.balance.largest, found.balance.smallest) == (("cat", cats), ("dog", 5))
    assert [where for where, _ in told(found)] == ["classes"] * uneven
    if uneven:
        assert f"{cats} images of 'cat', 5 of 'dog'" in told(found)[0][1]
        assert "class weights are used" in told(found)[0][1]


def test_sizes_are_those_of_the_files():
    wide, tall = saved(photo(60, 1300, 700), "JPEG"), saved(photo(61, 20, 60))
    array, image = np.asarray(photo(62, 32, 40)), photo(63, 40, 31)
    rows = [("cat", wide), ("cat", tall), ("dog", array), ("dog", image), ("dog", b"")]
    sizes = inspect(source(train=rows)).sizes
    assert (sizes.smallest, sizes.median, sizes.largest) == (20, 31, 1300)
    assert (sizes.tiny, sizes.long) == (2, 0)


def test_a_large_file_is_measured_as_it_is_stored(tmp_path):
    file = tmp_path / "large.jpg"
    photo(0, 1200, 2400).save(file)
    for picture in (file, str(file), file.read_bytes()):
        sizes = inspect(source(train=[("cat", picture), ("dog", photo(1))])).sizes
        assert (sizes.smallest, sizes.largest) == (90, 2400)


def test_odd_sizes_are_told_where_they_are_the_exception():
    odd = [("cat", photo(60, 31, 50)), ("cat", photo(61, 20, 20)), ("dog", photo(62, 400, 100))]
    problems = told(inspect(source(**clean(train=odd))))
    assert [where for where, _ in problems] == ["train/cat/12 and 1 more", "train/dog/14"]
    assert "under 32 px" in problems[0][1] and "4 times as long" in problems[1][1]
    found = inspect(source(**clean(train=[("dog", photo(62, 399, 100))])))
    assert (found.problems, found.sizes.long) == ((), 0)


def test_a_source_of_small_pictures_only_is_not_told_so_of_each():
    found = inspect(open_digits())
    assert (found.sizes.tiny, found.sizes.largest) == (1797, 8)
    assert found.problems == ()
    assert found.duplicates.compared == 0


@pytest.mark.parametrize(
    ("split", "flattered"), [("test", "the test"), ("validation", "validation")]
)
def test_a_copy_of_a_training_picture_elsewhere_is_a_leak(split, flattered):
    copy = {"again": saved(photo(2)), "nearly": copied(photo(11), 0.6, 60)}
    more = {split: [("cat", copy["again"]), ("dog", copy["nearly"])]}
    found = inspect(source(**clean(**more)))
    at = found.splits[split] - 2
    assert told(found) == [
        (
            "train/cat/2",
            f"the same picture as {split}/cat/{at}, so {flattered} would flatter",
        ),
        (
            "train/dog/7",
            f"nearly the same picture as {split}/dog/{at + 1}, so {flattered} would flatter",
        ),
    ]
    counted = found.duplicates
    assert (counted.groups, counted.exact, counted.leaks, counted.two_labels) == (2, 1, 2, 0)
    assert [group.exact for group in counted.listed] == [True, False]


def test_of_several_held_out_copies_that_of_the_test_is_named():
    copy = [("cat", photo(0))]
    found = inspect(source(**clean(validation=copy, test=copy)))
    assert told(found) == [
        ("train/cat/0", "the same picture as test/cat/12, so the test would flatter")
    ]
    assert found.duplicates.listed[0].total == 3


def test_copies_in_validation_and_test_alone_are_no_leak():
    copy = [("cat", photo(70))]
    found = inspect(source(**clean(validation=copy, test=copy)))
    assert (found.duplicates.groups, found.duplicates.leaks, found.problems) == (1, 0, ())


def test_a_picture_under_two_labels_is_told():
    found = inspect(source(**clean(train=[("dog", photo(2))])))
    assert told(found)[0] == (
        "train/cat/2",
        "the same picture as train/dog/12, but called 'cat' here and 'dog' there",
    )
    assert (found.duplicates.two_labels, found.duplicates.leaks) == (1, 0)


def test_a_leak_under_another_label_is_told_as_both():
    found = inspect(source(**clean(test=[("dog", photo(2))])))
    assert [("flatter" in why, "but called" in why) for _, why in told(found)] == [
        (True, False),
        (False, True),
    ]


def test_copies_within_a_split_are_told_in_one_line():
    more = [("cat", photo(0)), ("cat", copied(photo(1), 0.8)), ("cat", photo(0))]
    found = inspect(source(**clean(train=more)))
    assert told(found) == [
        (
            "split 'train'",
            "3 copies of pictures that it holds already, as train/cat/12 of train/cat/0",
        )
    ]
    alone = inspect(source(train=clean(train=more[:1])["train"]))
    assert told(alone) == [
        (
            "split 'train'",
            "1 copy of pictures that it holds already, as train/cat/12 of train/cat/0; "
            "validation and test are drawn from train and may flatter",
        )
    ]


def test_of_very_many_duplicates_the_first_are_told_and_all_are_counted():
    many = range(100, 160)
    again = range(90, 95)
    images = source(
        train=photos("cat", [*again, *many]) + photos("dog", [*again, *range(200, 260)]),
        test=photos("cat", many),
    )
    found = inspect(images)
    counted = found.duplicates
    assert (counted.groups, counted.leaks, counted.two_labels) == (65, 60, 5)
    assert len(counted.listed) == 50 and all(group.leak for group in counted.listed)
    assert len([why for _, why in told(found) if "so the test would" in why]) == 50
    assert (
        "duplicates",
        "10 more pictures are trained on and judged by, not named here",
    ) in told(found)


def test_of_a_large_group_ten_are_named_one_of_each_kind_first():
    rows = {"train": photos("cat", [0] * 30 + [*range(1, 9)]) + photos("dog", [*range(10, 16), 0])}
    found = inspect(source(**rows, test=photos("cat", [0, 20])))
    group = found.duplicates.listed[0]
    assert (group.total, len(group.images)) == (32, 10)
    assert {(member.split, member.label) for member in group.images[:3]} == {
        ("train", "cat"),
        ("train", "dog"),
        ("test", "cat"),
    }
    assert found.duplicates.groups == 1


def test_flat_pictures_are_no_duplicates_but_counted_as_not_compared():
    flat = [("cat", Image.new("RGB", (40, 40), (level,) * 3)) for level in range(100, 106)]
    found = inspect(source(**clean(train=flat)))
    assert found.problems == ()
    assert found.duplicates.compared == 30


def test_where_not_all_could_be_compared_it_is_told(monkeypatch):
    monkeypatch.setattr("transfer.data.checks.fingerprints.MOST_CANDIDATES", 0)
    found = inspect(source(**clean(train=[("cat", copied(photo(0), 0.9))])))
    assert not found.duplicates.complete
    assert [where for where, why in told(found) if "not all were compared" in why] == ["duplicates"]


def test_it_says_how_far_it_is_and_reads_each_picture_once():
    images, read = source(**clean()), []
    for split in images.splits.values():
        object.__setattr__(split, "read", watched(split.read, read))
    events = []
    inspect(images, events.append)
    assert [event.done for event in events] == [16, 30]
    assert {event.total for event in events} == {30}
    assert len(read) == 30 and all(event.seconds >= 0 for event in events)


def watched(read, seen: list):
    def reading(row: int):
        seen.append(row)
        return read(row)

    return reading


def test_closing_it_stops_its_threads():
    threads = Threads()
    looking = inspection_events(
        source(train=photos("cat", range(200)) + photos("dog", range(200, 210)))
    )
    next(looking)
    assert threads.alive
    looking.close()
    assert not threads.alive


def test_it_needs_no_torch(stripes):
    code = (
        "import sys\n"
        "from transfer.data.checks.inspect import inspect\n"
        "assert 'scipy' not in sys.modules\n"
        "from transfer.data.local.folder import open_folder\n"
        "from pathlib import Path\n"
        "print(len(inspect(open_folder(Path(sys.argv[1]))).classes), 'torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(stripes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "False"]
