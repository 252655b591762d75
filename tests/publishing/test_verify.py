from tests.hub_server import Repository
from tests.publishing.sending import ID, refused


def spoil(writing, **files) -> None:
    """Let the commit hold something else than was sent."""
    repository = writing.hub.repositories["models", ID]

    class Spoiled(Repository):
        sha = repository.sha

    files = repository.files | files
    writing.hub.repositories["models", ID] = Spoiled(
        kind="models", id=ID, files=files, private=True, lfs=repository.lfs
    )


def test_what_comes_back_different_is_told(small, writing):
    writing.before = {"HEAD /me/stripes/resolve": lambda: spoil(writing, **{"run.json": b"{}"})}
    message = refused(small)
    assert "expected run.json" in message and "as it was sent, found it missing" in message


def test_what_the_commit_holds_differently_is_told_without_a_download(small, writing):
    writing.before = {
        "/paths-info/": lambda: writing.commits and spoil(writing, **{"README.md": b"x"})
    }
    assert "expected README.md" in refused(small)
    assert not [asked for asked, _ in writing.seen if "/resolve/" in asked]


def test_tensors_that_cannot_be_read_back_are_told(small, writing):
    (small / "model.safetensors").write_bytes(b"no tensors")
    assert "expected model.safetensors" in refused(small)
