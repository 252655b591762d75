import pytest

from tests.publishing.runs import names_in
from transfer.errors import RunError
from transfer.publishing.new_folder import new_folder


def fill(folder) -> None:
    for name in ("model.safetensors", "config.json"):
        (folder / name).write_text("new")


@pytest.mark.parametrize("name", ["full", "full/notes.txt", "full/notes.txt/x"])
def test_nothing_is_overwritten(name, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(RunError), new_folder(tmp_path / name) as part:
        fill(part)
    assert names_in(tmp_path / "full") == ["notes.txt"]
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


def test_a_folder_appears_at_once_and_an_empty_one_is_filled_from_within(tmp_path):
    (tmp_path / "empty").mkdir()
    inode = (tmp_path / "empty").stat().st_ino  # it may be a mount
    for name in ("empty", "new"):
        with new_folder(tmp_path / name) as part:
            fill(part)
            assert not (tmp_path / name / "config.json").exists()
        assert names_in(tmp_path / name) == ["config.json", "model.safetensors"]
    assert (tmp_path / "empty").stat().st_ino == inode and names_in(tmp_path) == ["empty", "new"]


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
@pytest.mark.parametrize(
    ("stop", "wanted"),
    [(OSError(28, "No space left"), RunError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_an_error_leaves_nothing(stop, wanted, there, tmp_path):
    if there:
        (tmp_path / "out").mkdir()
    with pytest.raises(wanted), new_folder(tmp_path / "out") as part:
        fill(part)
        raise stop
    assert [path.name for path in tmp_path.rglob("*")] == (["out"] if there else [])
