import os

import pytest
from PIL import Image

from transfer.data.image import load_image
from transfer.data.local.folder import open_folder
from transfer.errors import SourceError


def draw(folder, *names):
    """Flat pictures; a picture's red is its place in the list."""
    for red, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (red, 0, 0)).save(path, "PNG")
    return folder


def refusal(folder) -> str:
    with pytest.raises(SourceError) as caught:
        open_folder(folder)
    assert "\n" not in str(caught.value) and str(folder.parent) not in str(caught.value)
    return str(caught.value)


def told(images) -> dict[str, str]:
    return {problem.where: problem.why for problem in images.problems}


def test_class_folders_are_classes_in_alphabetical_order(tmp_path):
    images = open_folder(draw(tmp_path / "pets", "dog/b.png", "cat/a.png", "dog/a.JPG"))
    assert images.classes == ("cat", "dog")
    assert images.counts() == {"train": 3}
    split = images.splits["train"]
    assert split.names == ("cat/a.png", "dog/a.JPG", "dog/b.png")
    assert split.labels.tolist() == [0, 1, 1]
    assert [load_image(split.read(i)).getpixel((0, 0))[0] for i in range(3)] == [1, 2, 0]


def test_split_folders_by_their_usual_names(tmp_path):
    draw(tmp_path, "Train/cat/1.png", "Train/dog/2.png", "val/dog/3.png", "test/cat/4.png")
    images = open_folder(tmp_path)
    assert images.classes == ("cat", "dog")
    assert images.counts() == {"test": 1, "train": 2, "validation": 1}
    assert images.splits["validation"].labels.tolist() == [1]
    assert images.splits["test"].names == ("test/cat/4.png",)


def test_a_class_called_test_is_a_class_where_there_is_no_train(tmp_path):
    images = open_folder(draw(tmp_path, "test/1.png", "control/2.png"))
    assert images.classes == ("control", "test")


def test_two_folders_for_one_split_are_refused(tmp_path):
    draw(tmp_path, "train/cat/1.png", "val/cat/2.png", "valid/cat/3.png")
    assert "one folder for validation, found val and valid" in refusal(tmp_path)


def test_folders_within_a_class_belong_to_it(tmp_path):
    images = open_folder(draw(tmp_path, "cat/2020/1.png", "cat/2021/deep/2.png", "dog/3.png"))
    assert images.class_counts() == {"cat": 2, "dog": 1}


def test_hidden_files_and_what_macs_leave_behind_are_not_looked_at(tmp_path):
    draw(tmp_path, "cat/1.png", "dog/2.png", "__MACOSX/cat/1.png", ".git/x/1.png", "cat/._1.png")
    images = open_folder(tmp_path)
    assert images.classes == ("cat", "dog")
    assert images.counts() == {"train": 2}
    assert images.problems == ()


def test_files_that_are_not_named_as_images_are_told(tmp_path):
    draw(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "cat" / "notes.txt").write_text("a cat")
    images = open_folder(tmp_path)
    assert told(images) == {"cat/notes.txt": "not named as an image"}
    assert images.skipped() == 0


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path):
    draw(tmp_path, "secret/1.png", "pets/cat/1.png", "pets/dog/2.png")
    (tmp_path / "pets/cat/link.png").symlink_to(tmp_path / "secret/1.png")
    (tmp_path / "pets/cat/inside.png").symlink_to(tmp_path / "pets/dog/2.png")
    images = open_folder(tmp_path / "pets")
    assert told(images) == {"cat/link.png": "a link that leaves the folder"}
    assert images.class_counts() == {"cat": 2, "dog": 1}


def test_a_link_to_a_folder_elsewhere_is_not_followed(tmp_path):
    draw(tmp_path, "secret/1.png", "pets/cat/1.png", "pets/dog/2.png")
    (tmp_path / "pets/cat/more").symlink_to(tmp_path / "secret")
    assert open_folder(tmp_path / "pets").class_counts() == {"cat": 1, "dog": 1}
    (tmp_path / "pets/bird").symlink_to(tmp_path / "secret")
    assert "'bird'" in refusal(tmp_path / "pets")


def test_what_is_no_file_is_told(tmp_path):
    draw(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "cat/nothing.png").symlink_to(tmp_path / "cat/gone.png")
    (tmp_path / "cat/round.png").symlink_to(tmp_path / "cat/round.png")
    os.mkfifo(tmp_path / "dog/pipe.png")
    images = open_folder(tmp_path)
    assert set(told(images)) == {
        "cat/nothing.png",
        "cat/round.png",
        "dog/pipe.png",
    }
    assert images.class_counts() == {"cat": 1, "dog": 1}


def test_a_file_name_need_not_be_unicode(tmp_path):
    draw(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "cat/1.png").rename(tmp_path / "cat" / os.fsdecode(b"caf\xe9.png"))
    images = open_folder(tmp_path)
    assert load_image(images.splits["train"].read(0)).size == (8, 8)


def test_a_folder_that_is_itself_a_link_is_read(tmp_path):
    draw(tmp_path, "pets/cat/1.png", "pets/dog/2.png")
    (tmp_path / "link").symlink_to(tmp_path / "pets")
    assert open_folder(tmp_path / "link").counts() == {"train": 2}


def test_an_empty_class_is_refused_by_name(tmp_path):
    draw(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "bird").mkdir()
    assert "found none in 'bird'" in refusal(tmp_path)


def test_a_folder_without_class_folders_is_refused(tmp_path):
    draw(tmp_path / "heap", "1.png", "2.png")
    assert "CLASS/photo.jpg" in refusal(tmp_path / "heap")


def test_a_file_is_no_folder(tmp_path):
    draw(tmp_path, "1.png")
    assert "found the file '1.png'" in refusal(tmp_path / "1.png")


def test_the_revision_changes_with_the_images_and_only_with_them(tmp_path):
    draw(tmp_path, "cat/1.png", "dog/2.png")
    first = open_folder(tmp_path).revision
    assert open_folder(tmp_path).revision == first
    os.utime(tmp_path / "dog/2.png", ns=(1, 1))
    touched = open_folder(tmp_path).revision
    with (tmp_path / "dog/2.png").open("ab") as file:
        file.write(b"more")
    os.utime(tmp_path / "dog/2.png", ns=(1, 1))
    longer = open_folder(tmp_path).revision
    draw(tmp_path, "cat/3.png")
    added = open_folder(tmp_path).revision
    (tmp_path / "cat/3.png").rename(tmp_path / "dog/3.png")
    moved = open_folder(tmp_path).revision
    assert len({first, touched, longer, added, moved}) == 5


def test_the_same_folder_elsewhere_has_the_same_revision(tmp_path):
    for place in ("a", "b"):
        draw(tmp_path / place, "cat/1.png", "dog/2.png")
        for path in (tmp_path / place).rglob("*.png"):
            os.utime(path, ns=(5, 5))
    assert open_folder(tmp_path / "a").revision == open_folder(tmp_path / "b").revision


def test_a_link_to_a_folder_is_told(tmp_path):
    draw(tmp_path, "secret/1.png", "pets/cat/1.png", "pets/dog/2.png")
    (tmp_path / "pets/cat/more").symlink_to(tmp_path / "secret")
    images = open_folder(tmp_path / "pets")
    assert told(images) == {"cat/more": "a link to a folder, which is not followed"}


def test_folders_too_deep_for_python_are_refused(tmp_path, monkeypatch):
    draw(tmp_path, "pets/cat/1.png", "pets/dog/2.png")

    def walk(*_, **__):
        raise RecursionError

    monkeypatch.setattr(os, "walk", walk)
    assert "too deep within each other" in refusal(tmp_path / "pets")
