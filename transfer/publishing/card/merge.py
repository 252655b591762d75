"""A new card over an old one: what a person wrote stays, what was generated is written anew.

Generated text stands between marks, `<!-- transfer: begin X -->` and `<!-- transfer: end X -->`.
Of the metadata a mark keeps short hashes of what was generated, so that what a person added,
changed or took out can be told from it.
"""

import hashlib
import json
import re
from collections import Counter
from itertools import pairwise

MARK = re.compile(r"^<!-- transfer: (begin|end) ([a-z]+) -->[ \t]*(?=\r?$)", re.MULTILINE)
WROTE = re.compile(r"<!-- transfer: wrote ([0-9a-f ]*) -->")
INDEX = "model-index"
LICENSE_KEYS = ("license", "license_name", "license_link")


def split_card(card: str) -> tuple[dict | None, str]:
    """A card → (its metadata or None, its text). Metadata that cannot be read becomes text."""
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    card = card.removeprefix("\ufeff")
    found = REGEX_YAML_BLOCK.search(card)
    if found is None:
        return None, card
    text, block = card[found.end() :], found[2]
    data = _read_yaml(block)
    return (None, text + _quoted(block)) if data is None else (data, text)


def _read_yaml(block: str) -> dict | None:
    import yaml

    try:
        # a few lines of aliases can stand for more than fits into memory
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(block)):
            return None
        data = yaml.safe_load(block)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return {} if data is None else data if isinstance(data, dict) else None


def _quoted(block: str) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block)), default=0))
    told = "The metadata of an earlier version of this card could not be read. It was:"
    return f"\n\n{told}\n\n{fence}yaml\n{block}\n{fence}\n"


def wrote_before(text: str) -> set[str]:
    """Hashes of the metadata that was generated last time."""
    return {mark for found in WROTE.findall(text) for mark in found.split()}


def wrote_mark(data: dict, hashes: set[str]) -> str:
    """The comment that tells next time what of `data` was generated; `hashes` are not among it."""
    found = {_hash(key, value) for key, value in _facts(data)} - hashes
    return f"<!-- transfer: wrote {' '.join(sorted(found))} -->"


def theirs(data: dict, wrote: set[str]) -> set[str]:
    """Hashes of what a person put into `data`."""
    return {_hash(key, value) for key, value in _facts(data)} - wrote


def merge_metadata(previous: dict, ours: dict, wrote: set[str]) -> dict:
    """Theirs wins over ours, key by key, and in lists item by item.

    What was generated before and is gone was taken out by a person, so it stays out.
    """
    merged = {}
    for key in previous | ours:
        old, new = previous.get(key), ours.get(key)
        if key == INDEX and _is_index(old):
            value = _merge_index(old, new or [], wrote)
        elif isinstance(new, list) or (new is None and isinstance(old, list)):
            value = _merge_list(key, _as_list(old), new or [], wrote)
        else:
            value = _merge_value(key, old, new, wrote)
        if value not in (None, []) or (key in previous and old == value):
            merged[key] = value
    return merged


def _merge_value(key: str, old, new, wrote: set[str]):
    if old is not None:
        return new if _hash(key, old) in wrote else old
    return None if _hash(key, new) in wrote else new


def _merge_list(key: str, old: list, new: list, wrote: set[str]) -> list:
    kept = [item for item in old if item in new or _hash(key, item) not in wrote]
    return kept + [item for item in new if item not in old and _hash(key, item) not in wrote]


def _merge_index(old: list[dict], new: list[dict], wrote: set[str]) -> list[dict]:
    """Entries are {"name", "results"}; what is added goes to the entry of its name."""
    fresh = [result for entry in new for result in entry["results"]]
    merged = [
        entry | {"results": [r for r in entry["results"] if r in fresh or not _is(r, wrote)]}
        for entry in old
    ]
    known = [result for entry in old for result in entry["results"]]
    added = [result for result in fresh if result not in known and not _is(result, wrote)]
    if added:
        name = new[0]["name"]
        merged = [*merged, {"name": name, "results": []}]
        same = next(entry for entry in merged if entry.get("name") == name)
        same["results"] = same["results"] + added
    return [entry for entry in merged if entry["results"]]


def _is(result: dict, wrote: set[str]) -> bool:
    return _hash(INDEX, result) in wrote


def _is_index(value) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, dict) and isinstance(entry.get("results"), list) for entry in value
    )


def _as_list(value) -> list:
    return value if isinstance(value, list) else [] if value is None else [value]


def _facts(data: dict):
    """(key, value) of all that can be changed alone: an item of a list, a result of the index."""
    for key, value in data.items():
        if key == INDEX and _is_index(value):
            yield from ((key, result) for entry in value for result in entry["results"])
        elif isinstance(value, list):
            yield from ((key, item) for item in value)
        else:
            yield key, value


def _hash(key: str, value) -> str:
    try:
        text = json.dumps([key, value], sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):  # nothing that we ever write
        return ""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def merge_text(text: str, sections: dict[str, str]) -> str:
    """Each section in the place of its marks, or beneath the text where it has none.

    Marks that are not exactly one pair tell nothing of what stands around them: they go, all text
    stays.
    """
    marks = list(MARK.finditer(text))
    whole = _whole_pairs(marks, sections)
    parts, at = [], 0
    for i, mark in enumerate(marks):
        if mark[2] not in sections or mark.start() < at:
            continue
        parts.append(text[at : mark.start()])
        at = mark.end()
        if mark[2] in whole:
            parts.append(between_marks(mark[2], sections[mark[2]]))
            at = marks[i + 1].end()
    parts.append(text[at:])
    missing = [between_marks(name, body) for name, body in sections.items() if name not in whole]
    return _beneath("".join(parts), missing)


def between_marks(name: str, body: str) -> str:
    return f"<!-- transfer: begin {name} -->\n\n{body}\n\n<!-- transfer: end {name} -->"


def _whole_pairs(marks: list[re.Match], sections: dict[str, str]) -> set[str]:
    """Names that have one begin and, as the very next mark, one end."""
    often = Counter(mark[2] for mark in marks)
    return {
        first[2]
        for first, second in pairwise(marks)
        if (first[1], second[1]) == ("begin", "end")
        and first[2] == second[2]
        and first[2] in sections
        and often[first[2]] == 2
    }


def _beneath(text: str, sections: list[str]) -> str:
    if not sections:
        return text
    gap = "" if text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    return text + (gap if text else "") + "\n\n".join(sections) + "\n"
