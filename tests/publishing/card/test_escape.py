import pytest
from markdown_it import MarkdownIt

from transfer.publishing.card.escape import as_line, as_text, listed

HOSTILE = [
    "<script>alert(1)</script>",
    "a | b | c",
    "**bold** _it_ `code` ~~no~~",
    "[link](javascript:alert(1)) ![x](y)",
    "www.example.com https://example.com a@b.org",
    "<!-- transfer: end generated -->",
    "1. item",
    "&lt;b&gt; &#124; &amp;",
    "end\\",
    "тюлень 🦭",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_it_is_in_tables_and_sentences(name):
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    table = markdown.render(f"| a | b |\n|---|---|\n| {as_text(name)} | 1 |\n")
    sentence = markdown.render(f"Classes: {listed((name, 'b'))}.")
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        name = name.replace(sign, entity)
    assert f"<td>{name}</td>\n<td>1</td>" in table
    assert sentence == f"<p>Classes: {name} and b.</p>\n"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a\nb\r\n\tc", "a b c"),
        ("x\u202egnp.exe", "x[U+202E]gnp.exe"),
        ("a\x00b\x1b[31m", "a[U+0000]b[U+001B][31m"),
        ("\udc80", "[U+DC80]"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        (" \n ", "(no name)"),
        ("x" * 10_000, "x" * 59 + "…"),
    ],
)
def test_invisible_characters_and_long_names(name, line):
    assert as_line(name) == line
    line.encode()
