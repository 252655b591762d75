import os
from pathlib import Path

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


def issues(images) -> dict[str, str]:
    return {problem.where: problem.why for problem in images.problems}


def test_class_folders_are_classes_in_alphabetical_order(tmp_path):
    draw(tmp_path / "pets", "dog/b.png", "cat/2020/a.png", "dog/a.JPG")
    draw(tmp_path / "pets", "__MACOSX/cat/1.png", ".git/x/1.png", "cat/._1.png")
    (tmp_path / "link").symlink_to(tmp_path / "pets")
    images = open_folder(tmp_path / "link")
    split = images.splits["train"]
    assert images.classes == ("cat", "dog") and images.problems == ()
    assert split.names == ("cat/2020/a.png", "dog/a.JPG", "dog/b.png")
    assert split.labels.tolist() == [0, 1, 1]
    assert [load_image(split.read(i)).getpixel((0, 0))[0] for i in range(3)] == [1, 2, 0]


def test_links_out_of_the_folder_and_other_non_files_are_not_read(tmp_path):
    draw(tmp_path, "secret/1.png", "pets/cat/1.png", "pets/dog/2.png")
    (tmp_path / "pets/cat/link.png").symlink_to(tmp_path / "secret/1.png")
    (tmp_path / "pets/cat/inside.png").symlink_to(tmp_path / "pets/dog/2.png")
    (tmp_path / "pets/cat/more").symlink_to(tmp_path / "secret")
    (tmp_path / "pets/cat/round.png").symlink_to(tmp_path / "pets/cat/round.png")
    os.mkfifo(tmp_path / "pets/dog/pipe.png")
    images = open_folder(tmp_path / "pets")
    assert issues(images) == {
        "cat/link.png": "a link out of the folder, which is not followed; copy the file here",
        "cat/more": "a link to a folder, which is not followed; copy the folder here",
        "cat/round.png": "not a file, or a link to nothing",
        "dog/pipe.png": "not a file, or a link to nothing",
    }
    assert images.class_counts() == {"cat": 2, "dog": 1}
    (tmp_path / "pets/bird").symlink_to(tmp_path / "secret")
    assert "none in 'bird' ('bird': a link to a folder" in refusal(tmp_path / "pets")


def test_links_that_the_hub_s_client_made_are_followed(tmp_path):
    names = ("cat/1.png", "dog/2.png")
    draw(tmp_path / "blobs", "aa", "bb")
    for name, blob in zip(names, ("aa", "bb"), strict=True):
        link = tmp_path / "snapshots/abc/data" / name
        link.parent.mkdir(parents=True)
        link.symlink_to(tmp_path / "blobs" / blob)
    for folder in ("abc", "abc/data"):
        images = open_folder(tmp_path / "snapshots" / folder)
        assert images.class_counts() == {"cat": 1, "dog": 1} and images.problems == ()
    (tmp_path / "snapshots").rename(tmp_path / "others")
    assert "'data/cat/1.png': a link out of the folder" in refusal(tmp_path / "others/abc")


def test_the_current_folder_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(draw(tmp_path / "heap", "1.png"))
    with pytest.raises(SourceError, match="in 'heap'"):
        open_folder(Path())


def test_what_a_training_writes_is_no_class(tmp_path):
    draw(tmp_path, "cat/1.png", "dog/2.png", "old/more/3.png", "app/.own/x/own-photos/a/1.png")
    for file in ("mine/a/run.json", "old/run.json", "new/checkpoint/lock", "app/.jobs/lock"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "runs").mkdir()
    images = open_folder(tmp_path)
    assert images.classes == ("cat", "dog") and images.skipped() == 2
    assert issues(images)["old"] == "written by a training, not used (1 images)"
    draw(tmp_path, "train/checkpoint/1.png", "train/runs/2.png")
    assert open_folder(tmp_path / "train").classes == ("checkpoint", "runs")


def test_a_file_name_need_not_be_unicode(tmp_path):
    draw(tmp_path, "cat/1.png", "dog/2.png", "cat/notes.txt")
    (tmp_path / "cat/1.png").rename(tmp_path / "cat" / os.fsdecode(b"caf\xe9.png"))
    images = open_folder(tmp_path)
    assert load_image(images.splits["train"].read(0)).size == (8, 8)
    assert issues(images) == {"cat/notes.txt": "not named as an image"} and images.skipped() == 0


def test_folders_that_hold_no_classes_are_refused(tmp_path):
    draw(tmp_path / "heap", "1.png", "2.png")
    assert "CLASS/photo.jpg" in refusal(tmp_path / "heap")
    assert "found the file '1.png'" in refusal(tmp_path / "heap/1.png")
    draw(tmp_path / "pets", "cat/1.png", "dog/2.png")
    (tmp_path / "pets/bird").mkdir()
    assert "found none in 'bird'" in refusal(tmp_path / "pets")


def test_the_revision_changes_with_the_images_and_only_with_them(tmp_path):
    def revision() -> str:
        for path in tmp_path.rglob("*.png"):
            os.utime(path, ns=(5, 5))
        return open_folder(tmp_path / "pets").revision

    path = draw(tmp_path, "pets/cat/1.png", "pets/dog/2.png") / "pets/dog/2.png"
    first = revision()
    os.utime(path, ns=(1, 1))
    touched = open_folder(tmp_path / "pets").revision
    path.write_bytes(path.read_bytes() + b"more")
    longer = revision()
    path.rename(tmp_path / "pets/dog/3.png")
    assert len({first, touched, longer, revision()}) == 4
    (tmp_path / "pets").rename(tmp_path / "elsewhere")
    draw(tmp_path, "pets/cat/1.png", "pets/dog/2.png")
    assert revision() == first
