"""Names from anywhere as plain text: nothing in them becomes Markdown, HTML or a mark of a card."""

import re
import unicodedata

LONGEST = 60
# Of the dots only those inside numbers stay: others could turn a name into a link.
MEANING = re.compile(r"(?<!\d)\.|\.(?!\d)|[^A-Za-z0-9 ,'/.\-\u0080-\U0010ffff]", re.ASCII)
BIDI_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def as_line(name: object, longest: int = LONGEST) -> str:
    """One short visible line: line breaks become spaces, invisible characters their number."""
    line = " ".join("".join(_visible(sign) for sign in str(name)[: 4 * longest]).split())
    line = line or "(no name)"
    return line if len(line) <= longest else line[: longest - 1] + "…"


def as_text(name: object, longest: int = LONGEST) -> str:
    """The same for Markdown, inside a table or not: what could be markup becomes an entity."""
    return MEANING.sub(lambda found: f"&#{ord(found[0])};", as_line(name, longest))


def _visible(sign: str) -> str:
    """Joiners stay: they belong to names in many scripts, and to emoji."""
    kind = unicodedata.category(sign)
    if kind in ("Zl", "Zp") or sign in "\t\n\v\f\r\x1c\x1d\x1e\x85":
        return " "
    return f"[U+{ord(sign):04X}]" if sign in BIDI_CONTROLS or kind in ("Cc", "Cs") else sign


def percent(share: float, digits: int = 1) -> str:
    return f"{share:.{digits}%}".replace("%", " %")


def listed(names: tuple[str, ...], at_most: int = 12) -> str:
    """`ants and bees`, as text for Markdown; only the first of many names."""
    shown = [as_text(name) for name in names[:at_most]]
    if len(names) > at_most:
        return ", ".join(shown) + f" and {len(names) - at_most:,} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
