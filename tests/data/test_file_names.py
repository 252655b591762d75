import pytest

from transfer.data.file_names import is_image, is_junk, without_other_files


@pytest.mark.parametrize(
    "name",
    "a.JPG a.jpe a.mpo a.jpg_large a.jpg-large a.jpeg:orig a.png?w=2&v=1.5 IMG_1.HEIC".split(),
)
def test_pictures_are_known_by_all_the_endings_that_they_have(name):
    assert is_image(f"x.y/{name}")


@pytest.mark.parametrize(
    "name",
    "jpg a.jpg~ a.jpg.bak #a.jpg# a.jpg_original a.jpg.part a.xmp a.jpgx a.jpg/b a.pdf".split(),
)
def test_backups_and_other_files_are_no_pictures(name):
    assert not is_image(name)


def test_what_systems_and_tools_write_is_left_out():
    names = (
        "__MACOSX ._a.jpg .DS_Store .AppleDouble .Trashes Thumbs.db ehthumbs_vista.db DESKTOP.INI "
        "$Recycle.bin RECYCLER found.000 @eaDir @tmp #recycle #snapshot a.jpg@SynoEAStream "
        "@Recycle .@__thumb @Recently-Snapshot lost+found .Trash-1000 .thumbnails .directory "
        ".git .gitattributes __pycache__ .ipynb_checkpoints .venv node_modules 1:Zone.Identifier"
    ).split()
    names += ["System Volume Information", "Network Trash Folder", "Icon\r"]
    assert [name for name in names if not is_junk(name)] == []
    for name in names:
        found = without_other_files([f"cat/{name}/1.jpg", "cat/1.jpg"], ["cat", f"cat/{name}"])
        assert found == (["cat/1.jpg"], ["cat"], []), name
    classes = "thumbs git icons recycle trash cache found snapshot 1.jpg $5 @home #1".split()
    assert not any(map(is_junk, classes))


def test_hidden_pictures_are_reported_once_a_folder():
    files = [".net/1.jpg", ".net/a/2.jpg", "a/.b.png", "a/1.png", ".config/x.txt"]
    used, folders, issues = without_other_files(files, [".net", ".net/a", "a", ".config"])
    assert (used, folders) == (["a/1.png"], ["a"])
    assert [(issue.where, issue.why, issue.skipped) for issue in issues] == [
        (".net", "hidden, not used (2 images)", 2),
        ("a/.b.png", "hidden, not used (1 images)", 1),
    ]
