import time

import pytest

from tests.publishing.sending import ID, found, refused, send
from transfer.publishing import commit, upload


def test_an_upload_goes_through_xet_only_where_the_hub_offers_it(small, writing, monkeypatch):
    taken = []

    def through_xet(*, additions, **_):
        for addition in additions:
            with addition.as_file() as file:
                writing.objects[addition.upload_info.sha256.hex()] = file.read()
            taken.append(type(addition.path_or_fileobj))

    monkeypatch.setattr("huggingface_hub._commit_api.is_xet_available", lambda: True)
    monkeypatch.setattr("huggingface_hub._commit_api._upload_xet_files", through_xet)
    send(small, "me/basic")
    assert not taken and any(asked.startswith("PUT") for asked, _ in writing.seen)
    writing.offers_xet = True
    writing.objects.clear()
    writing.forget()
    send(small, "me/xet")
    assert set(taken) == {str}
    assert not any(asked.startswith("PUT") for asked, _ in writing.seen)


def test_an_upload_tells_how_far_it_is_and_stops_at_once(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    sent = upload.Upload(None, ID, {"file": upload.FileDigest.of(path)})
    operation = sent._operation("file", through_xet=False)
    assert sent.done_bytes == 0
    sent._sending = True
    with operation.as_file() as file:
        assert len(file.read(60)) == 60 and sent.done_bytes == 60
        sent.stopped = True
        with pytest.raises(upload.Stopped):
            file.read(10)
    sent.close()


def test_an_upload_that_does_not_move_is_given_up(small, writing, monkeypatch):
    monkeypatch.setattr(commit, "STALLED_SECONDS", 0.3)
    monkeypatch.setattr("transfer.hub.SHOW_SECONDS", 0.05)
    monkeypatch.setattr("transfer.publishing.commit.REST_SECONDS", 0.1)
    writing.before = {"PUT": lambda: time.sleep(3)}
    assert "does not answer" in refused(small)
    assert found(writing) is None


def test_prints_are_what_git_and_storage_know_a_file_by(tmp_path):
    (tmp_path / "a").write_bytes(b"hello\n")
    found = upload.FileDigest.of(tmp_path / "a")
    assert found.blob == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert found.sha256.startswith("5891b5b522d5df086d0ff0b110fbd9d2")
