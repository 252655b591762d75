"""Names from anywhere as plain text in a card: nothing in them is Markdown, HTML or a mark."""

import re
import unicodedata

LONGEST = 60
# of the dots only those inside of numbers: others can make a link of a name
MEANING = re.compile(r"(?<!\d)\.|\.(?!\d)|[^A-Za-z0-9 ,'/.\-\u0080-\U0010ffff]", re.ASCII)
TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def as_line(name: object, longest: int = LONGEST) -> str:
    """One short line that can be seen: line breaks become spaces, unseen signs their number."""
    line = " ".join("".join(_seen(sign) for sign in str(name)[: 4 * longest]).split())
    if not line:
        return "(no name)"
    return line if len(line) <= longest else line[: longest - 1] + "…"


def as_text(name: object, longest: int = LONGEST) -> str:
    """The same for Markdown, inside a table or not: what could mean something is an entity."""
    return MEANING.sub(lambda found: f"&#{ord(found[0])};", as_line(name, longest))


def _seen(sign: str) -> str:
    """What turns the direction of the text around it, or is no character at all, shows its number.

    Joiners stay: they belong to names in many scripts, and to emoji.
    """
    kind = unicodedata.category(sign)
    if kind in ("Zl", "Zp") or sign in "\t\n\v\f\r\x1c\x1d\x1e\x85":
        return " "
    return f"[U+{ord(sign):04X}]" if sign in TURNING or kind in ("Cc", "Cs") else sign


def percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def counted(number: int, word: str) -> str:
    """`1 image`, `2,000 images`."""
    plural = "es" if word.endswith("s") else "s"
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}{plural}"


def listed(names: tuple[str, ...], at_most: int = 12) -> str:
    """`ants and bees`, as text for Markdown; of many names only the first."""
    shown = [as_text(name) for name in names[:at_most]]
    if len(names) > at_most:
        return ", ".join(shown) + f" and {len(names) - at_most:,} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
