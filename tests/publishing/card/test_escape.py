import pytest
from markdown_it import MarkdownIt

from transfer.publishing.card.escape import as_line, as_text, counted, listed

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a | b | c",
    "**bold** _it_ `code` ~~no~~",
    "[link](javascript:alert(1)) ![x](y)",
    "www.example.com https://example.com a@b.org",
    "<!-- transfer: end summary -->",
    "{{ braces }} {% x %} $x^2$ \\(y\\)",
    "# title",
    "1. item",
    "---",
    "&lt;b&gt; &#124; &amp;",
    "end\\",
    "</details></table>",
    ":smile: @someone #1",
    "بقرة",
    "тюлень 🦭",
]


def rendered(markdown: str) -> str:
    return (
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_it_is_in_a_table(name):
    html = rendered(f"| a | b |\n|---|---|\n| {as_text(name)} | 1 |\n")
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        name = name.replace(sign, entity)
    assert f"<td>{name}</td>\n<td>1</td>" in html


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_it_is_in_a_sentence(name):
    html = rendered(f"Classes: {listed((name, 'b'))}.")
    tags = html.replace("<p>", "").replace("</p>", "")
    assert "<" not in tags and html.startswith("<p>Classes: ") and " and b.</p>" in html


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a\nb\r\n\tc", "a b c"),
        ("x\u202egnp.exe", "x[U+202E]gnp.exe"),
        ("a\u200fb", "a[U+200F]b"),
        ("a\x00b\x1b[31m", "a[U+0000]b[U+001B][31m"),
        ("a\u2028b", "a b"),
        ("\udc80", "[U+DC80]"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("", "(no name)"),
        (" \n ", "(no name)"),
        (7, "7"),
    ],
)
def test_what_cannot_be_seen_is_shown_by_its_number(name, line):
    assert as_line(name) == line
    line.encode()


def test_a_long_name_is_cut():
    assert as_line("x" * 10_000) == "x" * 59 + "…" and len(as_text("<" * 10_000)) < 400


def test_dots_within_numbers_stay_readable():
    assert as_text("torch 2.15.0") == "torch 2.15.0" and "www&#46;x" in as_text("www.x")


def test_names_are_listed_and_counted():
    assert listed(("a",)) == "a" and listed(("a", "b", "c")) == "a, b and c"
    assert listed(tuple("abcd"), at_most=2) == "a, b and 2 more"
    assert (counted(1, "class"), counted(2000, "class")) == ("1 class", "2,000 classes")
