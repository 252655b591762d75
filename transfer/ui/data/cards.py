"""A card for each class that a visitor teaches: name, ways to add photos, the photos themselves."""

from functools import lru_cache
from html import escape
from pathlib import Path

from transfer.data.image import load_image
from transfer.data.local.custom import MAX_NAME, CustomImages
from transfer.formatting import isolated
from transfer.ui.shared.images import CAMERA_SCRIPT, data_url

SCRIPT = CAMERA_SCRIPT + Path(__file__).with_name("cards.js").read_text(encoding="utf-8")
NEWEST, SMALL = 24, 64  # photos shown on a card; pixels of one
FIRST_CLASSES = ("Class 1", "Class 2")  # shown until there is a class
CAMERA = (
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 8h3l2-3h6l2 3h3v11H4z"/>'
    '<circle cx="12" cy="13" r="3.5"/></svg>'
)


def class_cards(images: CustomImages, fewest: int, only: str = "") -> str:
    """All cards; or just the one of the class `only`, which nobody renames or removes.

    A class needs the `fewest` photos to be trained on.
    """
    photos = images.by_class()
    names = [only] if only else [*photos] or FIRST_CLASSES
    cards = "".join(_card(name, photos.get(name, []), fewest, fixed=bool(only)) for name in names)
    new = "" if only else '<button type="button" class="new" data-do="new_class">Add class</button>'
    now = "" if only else '<p class="now" aria-hidden="true"></p>'
    return f'<div class="class-cards">{cards}{new}{_undo(images)}{now}</div>'


def _card(name: str, photos: list[Path], fewest: int, *, fixed: bool) -> str:
    shown, missing = escape(name), fewest - len(photos)
    count = f"{len(photos):,} photo{'' if len(photos) == 1 else 's'}"
    needed = f", {missing} more to train" if missing > 0 else ""
    head = f"<b>{shown}</b>" if fixed else _name(shown)
    remove = "" if fixed else _button("remove_class", f"Remove the class {shown}", "✕")
    camera = _button("camera", f"Camera for {shown}", f"{CAMERA} Camera")
    return (
        f'<section class="class-card" data-name="{shown}" aria-label="{shown}">'
        f'<div class="head">{head}<span class="count">{count}{needed}</span>{remove}</div>'
        f'<div class="ways"><label class="drop"><input type="file" multiple '
        f'aria-label="Photos of {shown}">Drop photos or <u>choose</u></label>{camera}</div>'
        f'<div class="camera" hidden></div>{_photos(name, photos)}</section>'
    )


def _name(shown: str) -> str:
    return (
        f'<input class="class-name" type="text" value="{shown}" maxlength="{MAX_NAME}" '
        'aria-label="Name of the class" autocomplete="off" spellcheck="false">'
    )


def _photos(name: str, photos: list[Path]) -> str:
    """The newest photos, newest first, each with a button that removes it."""
    items = "".join(
        f'<li><img src="{_thumbnail(path, path.stat().st_mtime_ns)}" alt="">'
        + _button(
            "remove_photo", f"Remove photo {int(path.stem)} of {escape(name)}", "✕", path.name
        )
        + "</li>"
        for path in reversed(photos[-NEWEST:])
    )
    left = len(photos) - NEWEST
    more = f"<li>and {left:,} more</li>" if left > 0 else ""
    return f'<ul class="photos">{items}{more}</ul>' if items else ""


def _button(action: str, label: str, shown: str, photo: str = "") -> str:
    return (
        f'<button type="button" data-do="{action}" data-photo="{photo}" aria-label="{label}" '
        f'title="{label}">{shown}</button>'
    )


def _undo(images: CustomImages) -> str:
    """What was removed last, and the way back."""
    removed = [(path.name, [*path.iterdir()]) for path in images.removed.glob("*")]
    if not removed:
        return '<p class="undo" role="status"></p>'
    names = ", ".join(f"“{escape(isolated(name))}”" for name, _ in removed)
    photos = sum(len(photos) for _, photos in removed)
    what = f"{names}, {photos:,} photo{'' if photos == 1 else 's'}"
    return (
        f'<p class="undo" role="status">Removed: {what}. '
        '<button type="button" data-do="undo">Undo</button></p>'
    )


@lru_cache(maxsize=4096)
def _thumbnail(path: Path, _changed: int) -> str:
    return data_url(load_image(path, side=SMALL), SMALL)
