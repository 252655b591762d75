import io
import time

import numpy as np
import pytest
from PIL import Image

from tests.data.remote.test_dataset import problems, refusal
from tests.hub_datasets import (
    card,
    class_type,
    config_of,
    image_type,
    in_folders,
    parquet,
    picture,
    pictures,
    plain,
    row_of,
)
from transfer.cache.downloads import open_data_sets
from transfer.data.image import load_image
from transfer.data.remote import streaming
from transfer.data.remote.dataset import open_hub
from transfer.data.source import load_splits
from transfer.settings import TrainingSettings

NOISE_SIDE = 128


def noise(row: int) -> bytes:
    """A picture of 49 kB that no two rows share."""
    pixels = np.random.default_rng(row).integers(0, 256, (NOISE_SIDE, NOISE_SIDE, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


def heavy(labels: list[int], names: tuple[str, ...], first: int = 0) -> bytes:
    """Row groups of 20 pictures, 1 MB each."""
    cells = [{"bytes": noise(first + row), "path": None} for row in range(len(labels))]
    types = {"image": image_type(), "label": class_type(*names)}
    return parquet(types, rows_a_group=20, image=cells, label=labels)


def served(hub, suffix: str) -> int:
    """Bytes of data files that went out since the last time."""
    total = sum(number for name, number in hub.served if name.endswith(suffix))
    hub.served.clear()
    return total


def rows(images, split: str = "train") -> list[int]:
    chosen = images.splits[split]
    return [row_of(load_image(chosen.read(i))) for i in range(len(chosen))]


@pytest.fixture
def shuffled_set(hub):
    """600 mixed pictures of two classes in three files of 10 MB each."""
    labels = np.random.default_rng(0).integers(0, 2, 600).tolist()
    files = {
        f"data/train-{part}.parquet": heavy(labels[200 * part : 200 * part + 200], ("x", "y"), part)
        for part in range(3)
    }
    hub.add("datasets", "large/mixed", files)
    hub.served.clear()
    return "large/mixed", sum(map(len, files.values()))


def test_a_limit_downloads_only_a_part(hub, shuffled_set):
    name, whole = shuffled_set
    images = open_hub(name, limit_per_class=10)
    assert images.class_counts() == {"x": 10, "y": 10}
    assert images.problems == ()
    assert 0 < served(hub, ".parquet") < whole / 3


def test_what_was_taken_is_used_again(hub, shuffled_set):
    name, _ = shuffled_set
    first = open_hub(name, limit_per_class=10)
    hub.served.clear()
    again = open_hub(name, limit_per_class=10)
    assert served(hub, ".parquet") == 0
    assert again.splits["train"].names == first.splits["train"].names
    assert again.splits["train"].labels.tolist() == first.splits["train"].labels.tolist()
    assert (again.classes, again.problems) == (first.classes, first.problems)
    pairs = [(first.splits["train"].read(i), again.splits["train"].read(i)) for i in range(20)]
    assert all(one == other for one, other in pairs) and len({one for one, _ in pairs}) == 20


def test_another_limit_seed_or_column_is_another_taking(hub):
    hub.add("datasets", "large/drawn", {"train.parquet": plain(*[0, 1] * 60)})
    first = open_hub("large/drawn", limit_per_class=5)
    names = {first.splits["train"].names}
    assert open_hub("large/drawn", limit_per_class=6).class_counts() == {"wasp": 6, "ant": 6}
    for seed in (1, 2, 3):
        drawn = open_hub("large/drawn", limit_per_class=5, seed=seed)
        assert drawn.class_counts() == {"wasp": 5, "ant": 5}
        names.add(drawn.splits["train"].names)
    assert len(names) > 1
    assert len(open_data_sets().entries()) == 5


def test_different_images_never_share_their_names(hub):
    """The feature cache knows a selection by its names."""
    hub.add("datasets", "large/names", {"train.parquet": plain(*[0, 1] * 40)})
    by_name = {}
    for seed in range(4):
        split = open_hub("large/names", limit_per_class=10, seed=seed).splits["train"]
        for i, name in enumerate(split.names):
            assert by_name.setdefault(name, split.read(i)) == split.read(i)


def test_without_the_hub_an_open_set_is_used_as_it_was_taken(hub, shuffled_set):
    name, _ = shuffled_set
    first = open_hub(name, limit_per_class=10)
    started = time.monotonic()
    with hub.gone():
        again = open_hub(name, limit_per_class=10)
        word = open_hub(name.split("/")[1], limit_per_class=10)
        assert "does not answer" in refusal(name, limit_per_class=11)
        assert "does not answer" in refusal(name)
        assert again.splits["train"].read(3) == first.splits["train"].read(3)
    assert time.monotonic() - started < 15
    assert again.revision == word.revision == first.revision
    assert "the Hub does not answer: images taken before" in problems(again)


def test_a_killed_training_leaves_nothing_that_is_taken_for_whole(hub, shuffled_set, monkeypatch):
    name, _ = shuffled_set

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(streaming.snapshot, "write_record", killed)
        with pytest.raises(KeyboardInterrupt):
            open_hub(name, limit_per_class=10)
    assert not open_data_sets().entries()
    assert open_hub(name, limit_per_class=10).class_counts() == {"x": 10, "y": 10}


def test_images_that_are_cleared_at_once_are_taken_again(hub, monkeypatch):
    hub.add("datasets", "large/cleared", {"train.parquet": plain(0, 1, 0, 1)})
    find, asked = streaming.snapshot.find, []

    def find_late(key):
        if len(asked) == 1:
            open_data_sets().clear()
        asked.append(key)
        return find(key)

    monkeypatch.setattr(streaming.snapshot, "find", find_late)
    assert open_hub("large/cleared", limit_per_class=2).class_counts() == {"wasp": 2, "ant": 2}
    assert len(asked) == 4


def test_files_sorted_by_class_are_not_read_to_their_ends(hub):
    names = ("a", "b", "c", "d")
    files = {
        f"data/train-{label}.parquet": heavy([label] * 200, names, 200 * label)
        for label in range(4)
    }
    hub.add("datasets", "large/sorted", files)
    hub.served.clear()
    images = open_hub("large/sorted", limit_per_class=5)
    assert images.class_counts() == dict.fromkeys(names, 5)
    assert served(hub, ".parquet") < sum(map(len, files.values())) / 2


def test_one_file_sorted_by_class_is_not_read_to_its_end(hub):
    data = heavy([0] * 300 + [1] * 300, ("a", "b"))
    hub.add("datasets", "large/one", {"train.parquet": data})
    hub.served.clear()
    assert open_hub("large/one", limit_per_class=5).class_counts() == {"a": 5, "b": 5}
    assert served(hub, ".parquet") < len(data) / 2


def test_no_more_rows_are_looked_at_than_the_bound(hub, monkeypatch):
    monkeypatch.setattr(streaming, "ROWS_AT_LEAST", 60)
    monkeypatch.setattr(streaming, "ROWS_A_PLACE", 3)
    data = heavy([0] * 399 + [1], ("common", "rare"))
    hub.add("datasets", "large/rare", {"train.parquet": data})
    hub.served.clear()
    images = open_hub("large/rare", limit_per_class=5)
    assert images.class_counts().get("common") == 5
    assert served(hub, ".parquet") < len(data) / 2
    assert "60 rows looked at and no more: some classes have less than 5" in problems(images)


def test_an_unlabelled_split_is_soon_given_up(hub, monkeypatch):
    monkeypatch.setattr(streaming, "ROWS_UNLABELLED", 30)
    test = heavy([-1] * 400, ("x", "y"))
    files = {"data/train.parquet": plain(*[0, 1] * 9, names=("x", "y")), "data/test.parquet": test}
    hub.add("datasets", "large/contest", files)
    hub.served.clear()
    images = open_hub("large/contest", limit_per_class=3)
    assert images.counts() == {"train": 6}
    assert served(hub, "test.parquet") < len(test) / 2
    assert "split 'test': not used: it has no labels" in problems(images)


def test_splits_that_are_not_used_are_not_downloaded(hub):
    readme = card(config_of("default", train="a.parquet", extra="b.parquet"))
    extra = heavy([0, 1] * 100, ("wasp", "ant"))
    files = {"README.md": readme, "a.parquet": plain(0, 1, 0, 1), "b.parquet": extra}
    hub.add("datasets", "large/extra", files)
    hub.served.clear()
    open_hub("large/extra", limit_per_class=2)
    assert served(hub, "b.parquet") == 0


def test_names_that_are_not_known_before_are_looked_for_a_while(hub, monkeypatch):
    monkeypatch.setattr(streaming, "ROWS_SURE", 50)
    kinds = ["a", "b"] * 20 + ["c"] * 20 + ["a"] * 200
    data = parquet({"image": image_type()}, 20, image=pictures(260), kind=kinds)
    hub.add("datasets", "large/words", {"train.parquet": data})
    images = open_hub("large/words", limit_per_class=2, label_column="kind")
    assert set(images.classes) <= {"a", "b", "c"} and "a" in images.classes
    assert sum(images.counts().values()) == 2 * len(images.classes)


def test_of_an_image_folder_only_what_is_taken_is_downloaded(hub):
    files = {
        f"train/{kind}/{number:02}.png": picture(100 * (kind == "dog") + number)
        for kind in ("cat", "dog")
        for number in range(60)
    }
    hub.add("datasets", "large/folders", files)
    hub.served.clear()
    images = open_hub("large/folders", limit_per_class=4)
    assert images.class_counts() == {"cat": 4, "dog": 4}
    assert len({name for name, sent in hub.served if sent and name.endswith(".png")}) <= 12
    assert sorted(row < 60 for row in rows(images)) == [False] * 4 + [True] * 4
    assert all(name in files for name in images.splits["train"].names)
    assert not all(row % 100 < 4 for row in rows(images)), "the first files are no draw"


def test_all_classes_of_an_image_folder_are_found_however_far_down(hub, monkeypatch):
    monkeypatch.setattr(streaming, "ROWS_SHUFFLED", 10)
    monkeypatch.setattr(streaming, "ROWS_SURE", 20)
    files = {f"train/{kind}/{n}.png": picture(n) for kind in "abc" for n in range(40)}
    hub.add("datasets", "large/deep", files)
    assert open_hub("large/deep", limit_per_class=2).class_counts() == {"a": 2, "b": 2, "c": 2}


def test_a_file_that_is_named_but_missing_is_told(hub):
    table = b"file_name,breed\ncat/0.png,x\ncat/1.png,y\ncat/9.png,x\ndog/0.png,y\n"
    files = in_folders("train/cat", "train/dog") | {"train/metadata.csv": table}
    hub.add("datasets", "large/missing", files)
    images = open_hub("large/missing", limit_per_class=10)
    assert images.class_counts() == {"x": 1, "y": 2}
    assert "train/cat/9.png: its file is not in the data set" in problems(images)


def test_the_settings_reach_the_hub(hub, shuffled_set):
    name, whole = shuffled_set
    images = load_splits(name, TrainingSettings(limit_per_class=10, seed=3))
    assert sum(images.counts().values()) == 20
    assert list(images.splits) == ["train", "validation", "test"]
    assert served(hub, ".parquet") < whole / 3
