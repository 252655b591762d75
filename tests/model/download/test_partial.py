import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from tests.hub_cuts import Served, Sparse, sent_on, with_length, without_ranges
from tests.hub_server import FRIEND
from tests.tiny import drained
from tests.waiting import wait_for
from transfer.errors import CacheError, WeightsError
from transfer.model.download import partial, range_requests
from transfer.model.download.partial import FIRST_BYTES, fetching_tensors, kept_tensors
from transfer.model.download.range_requests import NoRanges

NAME, FILE, PREFIX = "timm/cut.tv_in1k", "model.safetensors", "features."
ASKED = (NAME, FILE, None, PREFIX)
FETCH = f"""
from transfer.model.download.partial import fetching_tensors, kept_tensors
list(fetching_tensors(*{ASKED!r}))
print(kept_tensors(*{ASKED!r})[0].name)
"""


def tensors(body_bytes: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Eight tensors of a body, and others of half its size before and after it."""
    generator, count = np.random.default_rng(seed), body_bytes // 32
    names = [f"{PREFIX}{n}.weight" for n in range(8)]
    other = np.zeros(body_bytes // 8, dtype=np.float32)
    body = {name: generator.random(count, dtype=np.float32) for name in names}
    return body | {"conv.weight": other, "pre_logits.weight": other}


BODY_BYTES = 8_000_000
SMALL = save(tensors(BODY_BYTES))
LARGE_BYTES = 40_000_000
LARGE = save(tensors(LARGE_BYTES))


def places(seed: int) -> list[int]:
    """Five in the large body, from its first byte, where a connection breaks."""
    return sorted(random.Random(seed).sample(range(10_000, LARGE_BYTES), 5))


def in_the_file(places: list[int]) -> list[int]:
    body_begins = len(LARGE) - LARGE_BYTES * 3 // 2
    return [body_begins + place for place in places]


@pytest.fixture
def put(hub):
    """Put up a file as the repository's; it counts what is sent of it."""

    def put(content: bytes = SMALL, **more) -> Served:
        file = content if isinstance(content, Served) else Served(content, **more)
        hub.add("models", NAME, {FILE: file})
        return file

    return put


@pytest.fixture(autouse=True)
def steady(monkeypatch):
    """Short pauses, and nothing told within a piece, so that bytes can be counted exactly."""
    monkeypatch.setattr(range_requests, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(partial, "SHOW_SECONDS", 60.0)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(range_requests, "MOST_ATTEMPTS", 1)


def fetch(*asked) -> tuple:
    """(safetensors file, commit)"""
    return drained(fetching_tensors(*asked))[1]


def refusal(call=fetch, *args, kind=WeightsError) -> str:
    with pytest.raises(kind) as caught:
        call(*(args or ASKED))
    message = str(caught.value)
    assert "\n" not in message and "/tmp" not in message and "http" not in message
    return message


def is_the_body(path, body_bytes: int = BODY_BYTES, seed: int = 0) -> bool:
    expected = {k: v for k, v in tensors(body_bytes, seed).items() if k.startswith(PREFIX)}
    found = load_file(path)
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], expected[name]) for name in expected
    )


def names(folder) -> set[str]:
    return {path.suffix for path in (folder / "bodies" / "hub").iterdir()}


def test_only_the_chosen_tensors_are_sent_and_are_those_of_the_whole_file(put, hub):
    file = put()
    path, commit = fetch(*ASKED)
    assert commit == hub.find("models", NAME).sha
    assert is_the_body(path)
    assert file.sent_bytes == FIRST_BYTES + BODY_BYTES


def test_a_header_longer_than_the_first_look_is_read_to_its_end(put):
    many = {f"{PREFIX}{n}": np.full(3, n, dtype=np.float32) for n in range(500)}
    file = put(save(many | {"head": np.zeros(10**6)}))
    found = load_file(fetch(*ASKED)[0])
    assert found.keys() == many.keys() and all((found[name] == many[name]).all() for name in many)
    assert file.sent_bytes < 60_000


def test_progress_is_told_in_bytes_up_to_the_last(put):
    put()
    told = list(fetching_tensors(*ASKED))
    come = [event.done_bytes for event in told]
    assert come[0] == 0 and come == sorted(set(come)) and len(come) > 3
    assert come[-1] == BODY_BYTES and {event.total_bytes for event in told} == {BODY_BYTES}


def test_within_a_piece_that_takes_long_progress_is_told_and_kept(put, cache, monkeypatch):
    monkeypatch.setattr(partial, "SHOW_SECONDS", 0.0)
    put()
    steps = fetching_tensors(*ASKED)
    next(steps)
    come = [next(steps).done_bytes for _ in range(3)]
    assert come == sorted(set(come)) and come[-1] < partial.FIRST_PIECE_BYTES
    (note,) = (cache / "bodies" / "hub").glob("*.part.json")
    assert json.loads(note.read_text())["bytes"] > come[-1]
    steps.close()
    assert next(fetching_tensors(*ASKED)).done_bytes == come[-1]
    assert is_the_body(fetch(*ASKED)[0])


def test_afterwards_nobody_is_asked_by_branch_or_by_commit(put, hub):
    assert kept_tensors(*ASKED) is None
    put()
    path, commit = fetch(*ASKED)
    with hub.gone():
        assert kept_tensors(*ASKED) == (path, commit)
        assert kept_tensors(NAME, FILE, commit, PREFIX) == (path, commit)
        for other in ((NAME, FILE, "0" * 40, PREFIX), (NAME, FILE, None, "head.")):
            assert kept_tensors(*other) is None


def test_five_cuts_at_random_places_cost_no_byte_twice(put):
    file = put(LARGE, cuts=in_the_file(places(5)))
    path, _ = fetch(*ASKED)
    assert is_the_body(path, LARGE_BYTES)
    assert not file.cuts and file.sent_bytes == FIRST_BYTES + LARGE_BYTES


def test_five_downloads_that_break_off_leave_what_came_to_the_next(put, impatient):
    file = put(LARGE, cuts=in_the_file(places(6)))
    for place in places(6):
        message = refusal()
        assert NAME in message and "goes on from there" in message
        assert f"at {place / 1e6:.0f} of 40 MB" in message
    path, _ = fetch(*ASKED)
    assert is_the_body(path, LARGE_BYTES)
    assert file.sent_bytes == 6 * FIRST_BYTES + LARGE_BYTES


def test_a_connection_that_breaks_again_and_again_gets_small_pieces_through(put):
    every = range(5_000_000, 12_000_000, 150_000)
    file = put(cuts=list(every))
    assert is_the_body(fetch(*ASKED)[0])
    assert file.sent_bytes == FIRST_BYTES + BODY_BYTES and not file.cuts


def test_pieces_grow_while_they_come_quickly_and_shrink_where_they_do_not():
    grown = partial._next_piece(1 << 20, 0.1, whole=True)
    assert grown > 1 << 20 > partial._next_piece(1 << 20, 9.0, whole=True)
    assert partial._next_piece(1 << 20, 0.1, whole=False) < 1 << 20
    assert partial._next_piece(1 << 20, 4.0, whole=True) == 1 << 20
    least, most = partial.LEAST_PIECE_BYTES, partial.MOST_PIECE_BYTES
    assert partial._next_piece(least, 9.0, whole=False) == least
    assert partial._next_piece(most, 0.1, whole=True) == most


def test_whoever_closes_the_generator_leaves_what_came_to_the_next(put):
    file = put()
    for _ in range(3):
        steps = fetching_tensors(*ASKED)
        next(steps), next(steps)
        steps.close()
    assert is_the_body(fetch(*ASKED)[0])
    assert file.sent_bytes == 4 * FIRST_BYTES + BODY_BYTES


def start(command: str = FETCH) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, text=True)


def noted_bytes(cache) -> int:
    """What the note beside the part vouches for; 0 while there is none."""
    for note in (cache / "bodies" / "hub").glob("*.part.json"):
        return json.loads(note.read_text())["bytes"]
    return 0


def test_a_killed_process_leaves_its_pieces_to_the_next(put, cache):
    file, vouched = put(seconds=0.3), [0]
    for _ in range(2):
        file.sent.clear()
        process = start()
        wait_for(lambda: noted_bytes(cache) > vouched[-1])
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        vouched.append(noted_bytes(cache))
    assert vouched == sorted(set(vouched)) and vouched[1] > partial.FIRST_PIECE_BYTES
    time.sleep(1)  # what was on its way to the killed process is counted once it is gone
    file.seconds = 0
    file.sent.clear()
    path, _ = fetch(*ASKED)
    assert is_the_body(path)
    assert file.sent_bytes == FIRST_BYTES + path.stat().st_size - vouched[-1]
    assert names(cache) == {".json", ".lock", ".safetensors"}


@pytest.mark.parametrize("where", ["in the beginning", "in the data", "in the note"])
def test_a_part_that_was_damaged_is_fetched_anew(put, cache, where):
    file = put()
    steps = fetching_tensors(*ASKED)
    next(steps), next(steps), steps.close()
    (part,) = (cache / "bodies" / "hub").glob("*.part")
    if where == "in the note":
        part.with_name(f"{part.name}.json").write_text("{")
    else:
        content = bytearray(part.read_bytes())
        content[20 if where == "in the beginning" else 5000] ^= 1
        part.write_bytes(content)
    assert is_the_body(fetch(*ASKED)[0])
    assert file.sent_bytes > 2 * FIRST_BYTES + BODY_BYTES


def test_bytes_that_nobody_vouches_for_are_cut_off(put, cache):
    put()
    steps = fetching_tensors(*ASKED)
    next(steps), next(steps), steps.close()
    (part,) = (cache / "bodies" / "hub").glob("*.part")
    with part.open("ab") as file:
        file.write(bytes(1000))
    assert is_the_body(fetch(*ASKED)[0])


def test_two_processes_at_once_fetch_it_once(put):
    file = put(seconds=0.1)
    both = [start(), start()]
    found = {process.communicate()[0] for process in both}
    assert len(found) == 1 and all(process.returncode == 0 for process in both)
    assert file.sent_bytes <= 2 * FIRST_BYTES + BODY_BYTES


def test_whoever_waits_sees_how_far_the_other_is(put, monkeypatch):
    monkeypatch.setattr(partial, "TURN_SECONDS", 0.01)
    put()
    first, second = fetching_tensors(*ASKED), fetching_tensors(*ASKED)
    next(first), next(first)
    assert next(second).done_bytes == partial.FIRST_PIECE_BYTES
    first.close()
    *_, last = second
    assert last.done_bytes == last.total_bytes == BODY_BYTES


def test_threads_of_one_process_fetch_it_once(put):
    file, found = put(), []
    threads = [threading.Thread(target=lambda: found.append(fetch(*ASKED))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    assert file.sent_bytes <= 4 * FIRST_BYTES + BODY_BYTES


def test_another_commit_with_other_tensors_is_fetched_and_the_old_one_stays(put, hub):
    put()
    old = fetch(*ASKED)
    file = put(save(tensors(BODY_BYTES, seed=1)))
    new = fetch(*ASKED)
    assert new[1] == hub.find("models", NAME).sha != old[1]
    assert is_the_body(new[0], seed=1) and file.sent_bytes == FIRST_BYTES + BODY_BYTES
    assert kept_tensors(*ASKED) == new and kept_tensors(NAME, FILE, old[1], PREFIX) == old


def test_another_commit_with_the_same_file_is_not_fetched_again(put, hub):
    file = put()
    path, old = fetch(*ASKED)
    hub.add("models", NAME, {FILE: file, "README.md": b"new"})
    assert fetch(*ASKED) == (path, hub.find("models", NAME).sha)
    assert file.sent_bytes == FIRST_BYTES + BODY_BYTES
    assert kept_tensors(NAME, FILE, old, PREFIX) == (path, old)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "record"])
def test_a_kept_file_that_was_damaged_is_not_used_but_fetched_again(put, cache, damage):
    put()
    path, _ = fetch(*ASKED)
    if damage == "flipped":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "gone":
        path.unlink()
    else:
        for record in (cache / "bodies" / "hub").glob("*.json"):
            record.write_text('{"commit": "x", "sha256": "../../x"}')
    assert kept_tensors(*ASKED) is None
    assert is_the_body(fetch(*ASKED)[0])


def test_a_mirror_without_ranges_is_told_from_one_that_has_them(put, monkeypatch):
    put()
    with without_ranges(monkeypatch), pytest.raises(NoRanges) as caught:
        fetch(*ASKED)
    assert caught.value.bytes == len(SMALL)


def test_tensors_strewn_over_the_file_are_not_worth_ranges(put):
    strewn = {
        f"{PREFIX if n % 2 else 'head.'}{n}": {
            "dtype": "F32",
            "shape": [1],
            "data_offsets": [4 * n, 4 * n + 4],
        }
        for n in range(100)
    }
    file = put(with_length(json.dumps(strewn).encode()) + bytes(400))
    with pytest.raises(NoRanges):
        fetch(*ASKED)
    assert file.sent_bytes <= len(file)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 5000,
        (10**15).to_bytes(8, "little") + bytes(5000),
        (4000).to_bytes(8, "little") + b"[" * 5000,
        with_length(b'{"features.0":{"dtype":"F32","shape":[9],"data_offsets":[0,9000000]}}'),
        with_length(b'{"features.0":{"dtype":"F32","shape":[9],"data_offsets":[0,40]}}')
        + bytes(99),
        b"<!DOCTYPE html>",
        b"1",
    ],
    ids=["noise", "endless", "deep", "outside", "shape", "page", "one byte"],
)
def test_a_header_that_lies_is_one_sentence_and_costs_next_to_nothing(put, cache, content):
    file = put(content)
    message = refusal()
    assert NAME in message and FILE in message and "expected a safetensors file" in message
    assert file.sent_bytes <= FIRST_BYTES and not (cache / "bodies").exists()


def test_no_tensor_of_that_name_is_told(put):
    put()
    assert "no tensor encoder.…" in refusal(fetch, NAME, FILE, None, "encoder.")


def test_a_missing_repository_revision_and_file_are_told(put, hub):
    assert "nobody/here" in refusal(fetch, "nobody/here", FILE, None, PREFIX)
    put()
    assert NAME in refusal(fetch, NAME, FILE, "0" * 40, PREFIX)
    assert NAME in refusal(fetch, NAME, "other.safetensors", None, PREFIX)
    assert "no/re/po" in refusal(fetch, "no/re/po", FILE, None, PREFIX)


def test_a_hub_that_is_silent_is_given_up_in_three_seconds(put, hub):
    put()
    started = time.monotonic()
    with hub.in_mood("silent"):
        assert "does not answer" in refusal()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("mood", ["silent", "busy"])
def test_a_hub_that_falls_silent_on_the_way_is_given_up_and_gone_on_with(
    put, hub, mood, monkeypatch
):
    from huggingface_hub import constants

    file = put()
    steps = fetching_tensors(*ASKED)
    next(steps), next(steps)
    started = time.monotonic()
    with hub.in_mood(mood), monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
        assert "broke off at 1 of 8 MB" in refusal(list, steps)
    assert time.monotonic() - started < 8
    assert is_the_body(fetch(*ASKED)[0])
    assert file.sent_bytes == 2 * FIRST_BYTES + BODY_BYTES


def test_a_hub_that_goes_on_the_way_and_comes_back_is_waited_for(put, hub, monkeypatch):
    monkeypatch.setattr(range_requests, "FIRST_PAUSE_SECONDS", 0.3)
    put()
    steps = fetching_tensors(*ASKED)
    next(steps)
    hub.stop()
    back = threading.Timer(0.02, hub.start)
    back.start()
    list(steps)
    back.join()
    assert is_the_body(kept_tensors(*ASKED)[0])


def test_signed_addresses_that_expire_are_asked_for_again_and_see_no_token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", FRIEND)
    hub.add("models", NAME, {FILE: SMALL}, private=True)
    with sent_on(monkeypatch, uses=1) as store:
        assert is_the_body(fetch(*ASKED)[0])
    assert len(store.tokens) > 3 and set(store.tokens) == {None}


def test_a_store_that_refuses_is_one_sentence(put, monkeypatch):
    put()
    with sent_on(monkeypatch, uses=0) as store:
        message = refusal()
    assert "status 403" in message and store.refused == range_requests.MOST_ATTEMPTS


def test_a_full_disk_is_told_before_anything_is_fetched(put, monkeypatch):
    file = put()
    usage = type("usage", (), {"free": 1_000_000})
    monkeypatch.setattr(partial.shutil, "disk_usage", lambda _: usage)
    message = refusal(kind=CacheError)
    assert "8 MB" in message and "1 MB" in message
    assert file.sent_bytes == FIRST_BYTES


def test_a_private_body_is_for_the_user_alone(put, cache):
    put()
    path, _ = fetch(*ASKED)
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_of_the_real_vgg16_a_tenth_is_sent(hub, put):
    """553 MB that are made as they are asked for, with timm's names, shapes and order."""
    import timm
    import torch

    with torch.device("meta"):
        state = timm.create_model("vgg16").state_dict()
    file = Sparse({name: tuple(tensor.shape) for name, tensor in state.items()})
    assert 553e6 < len(file) < 554e6
    put(file)
    path, _ = fetch(*ASKED)
    assert file.sent_bytes < 58.9e6
    found = load_file(path)
    assert found.keys() == {name for name in state if name.startswith(PREFIX)}
    end = len(file.header({name: tuple(tensor.shape) for name, tensor in state.items()}))
    for name in sorted(found):
        start, end = end, end + found[name].nbytes
        assert found[name].tobytes() == file.read(start, end)
