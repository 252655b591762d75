import io
import sys

from transfer.formatting import print_whatever_comes, printable


def test_what_a_terminal_would_act_on_is_escaped_and_the_rest_stays():
    assert printable("Café 🦆.png") == "Café 🦆.png"
    assert printable("a\x1b[2J\nb\udce9") == r"a\x1b[2J\nb\udce9"


def test_what_a_stream_has_no_signs_for_is_printed_all_the_same(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", out)
    print_whatever_comes()
    print("é \udce9", flush=True)
    assert out.buffer.getvalue() == rb"\xe9 \udce9" + b"\n"
