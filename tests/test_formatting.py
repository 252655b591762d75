import dataclasses
import io
import sys

import pytest

from tests.test_events import EXAMPLES, kind
from transfer import events
from transfer.formatting import (
    accuracy_text,
    byte_size,
    describe,
    encodable,
    isolated,
    prepare_streams,
    printable,
    score_text,
)

BY_KIND = {type(event): event for event in reversed(EXAMPLES)}  # the first example of each kind


@pytest.mark.parametrize("event", BY_KIND.values(), ids=kind)
def test_each_event_is_described_in_one_line(event):
    text = describe(event)
    assert text and "\n" not in text and "None" not in text


def test_a_source_is_named_without_its_path():
    text = describe(dataclasses.replace(BY_KIND[events.DatasetReady], source="/home/ann/zoo"))
    assert "zoo" in text and "/home" not in text


def test_balanced_accuracy_is_named_where_classes_are_uneven():
    saved = BY_KIND[events.RunSaved]
    assert "balanced" not in describe(saved)
    result = saved.result | {"uneven": True, "balanced_accuracy": 0.5}
    assert ", balanced 50.0%, head of" in describe(dataclasses.replace(saved, result=result))


def test_an_accuracy_on_few_images_is_a_count():
    assert accuracy_text(5 / 6, 6) == "5 of 6" and accuracy_text(98 / 99, 99) == "98 of 99"
    assert accuracy_text(0.8333, 100) == "83.3%"
    saved = BY_KIND[events.RunSaved]
    result = saved.result | {"accuracy": 5 / 6, "images": {"test": 6}}
    assert "test accuracy 5 of 6 (" in describe(dataclasses.replace(saved, result=result))


def test_sizes_that_differ_a_little_look_different():
    found = [byte_size(count) for count in (0, 999, 99_600, 5_120_000, 5_410_000, 999_600_000, 2e9)]
    assert found == ["0 bytes", "999 bytes", "99.6 kB", "5.12 MB", "5.41 MB", "1 GB", "2 GB"]


def test_only_names_from_right_to_left_are_isolated():
    assert isolated("cat 2") == "cat 2" and isolated("قطة") == "\u2068قطة\u2069"


def test_half_characters_are_escaped_and_nothing_else():
    assert encodable("a\x1b é\u200d🦆\udce9\ud83d") == "a\x1b é\u200d🦆" + r"\udce9\ud83d"


def test_control_characters_are_escaped_and_the_rest_stays():
    assert printable("Café 🦆.png") == "Café 🦆.png"
    assert printable("a\x1b[2J\nb\udce9") == r"a\x1b[2J\nb\udce9"


def test_characters_that_a_stream_cannot_encode_are_escaped(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", out)
    prepare_streams()
    print("é \udce9", flush=True)
    assert out.buffer.getvalue() == rb"\xe9 \udce9" + b"\n"


@pytest.mark.parametrize(
    ("score", "shown"),
    [
        (1.0, "100.0%"),
        (0.9996, "> 99.9%"),
        (0.999, "99.9%"),
        (0.001, "0.1%"),
        (0.0001, "< 0.1%"),
        (0.0, "0.0%"),
    ],
)
def test_no_percentage_is_more_certain_than_the_score(score, shown):
    assert score_text(score) == shown
