"""The datasets to choose from as tiles, each with three of its pictures."""

from collections.abc import Callable, Sequence
from html import escape

from transfer.data.presets import PRESETS, Preset
from transfer.ui.data.uploads import PHOTOS

PICTURES = 3  # on a tile
# drawn where there is no picture: SVG paths in a square of 24
OWN = "M4 8h3l2-3h6l2 3h3v11H4zM12 10a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z"
DRAWINGS = {
    "digits": "M8 5h8l-5 14M8 12h7",
    "AI-Lab-Makerere/beans": "M5 20c2-7 6-10 10-12M6 17C5 9 11 5 20 4c0 9-5 15-14 13z",
    "pcuenq/oxford-pets": "M12 12c-3 0-5 3-5 5s2 2 5 2 5 0 5-2-2-5-5-5zM6 9v1M10 5v2M14 5v2M18 9v1",
    "microsoft/cats_vs_dogs": "M5 4l4 4h6l4-4v9a7 7 0 0 1-14 0zM9 12v1M15 12v1M11 16h2",
    "uoft-cs/cifar10": "M3 14l2-5h9l3 5h4v4H3zM8 18v2M16 18v2M9 9v5",
    "uoft-cs/cifar100": "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z",
    "zalando-datasets/fashion_mnist": "M8 4l4 2 4-2 5 4-3 3-1-1v10H7V10l-1 1-3-3z",
    "ylecun/mnist": "M6 7c4-4 12-1 5 4 9 0 5 10-5 7M18 5v3",
    "ethz/food101": "M3 12a9 9 0 1 0 18 0 9 9 0 0 0-18 0zM8 12a4 4 0 1 0 8 0 4 4 0 0 0-8 0z",
}
# in the browser: a choice is an `input` of the component, and new tiles keep what was chosen
CHOOSING = """
let chosen = element.querySelector("input:checked").value;
const mark = () => element.querySelectorAll("input").forEach(
    input => { input.checked = input.value === chosen; });
element.addEventListener("change", event => { chosen = event.target.value; trigger("input"); });
element.addEventListener("chosen", event => { chosen = event.detail; mark(); });
watch("value", mark);
"""
TO_SOURCE = """() => document.querySelector("#tiles input:checked").value"""
FROM_SOURCE = """source => {
    document.querySelector("#tiles .tiles").dispatchEvent(
        new CustomEvent("chosen", {bubbles: true, detail: source}));
}"""


def tiles(own: Sequence[str] = (), at_hand: Callable[[str], Sequence[str]] = lambda _: ()) -> str:
    """`own` are one's newest photos as data URLs, `at_hand` maps a dataset to such of its own."""
    newest = _pictures(own, OWN)
    mine = _tile("Your own photos", "From this device or the camera", PHOTOS, newest, kind=" own")
    others = "".join(_preset(preset, at_hand(preset.source)) for preset in PRESETS)
    return (
        f'<fieldset class="tiles"><legend class="hidden">Dataset</legend>{mine}{others}</fieldset>'
    )


def pictures_of(source: str, at_hand: Sequence[str]) -> str:
    """A dataset's three pictures, or its drawing."""
    return _pictures(at_hand, OWN if source == PHOTOS else DRAWINGS.get(source, DRAWINGS["digits"]))


def _preset(preset: Preset, at_hand: Sequence[str]) -> str:
    about = f"{preset.classes} classes, {preset.images:,}"
    shown = _pictures(at_hand, DRAWINGS[preset.source])
    name = preset.what.partition(",")[0].capitalize()
    return _tile(name, about, preset.source, shown, hint=preset.title)


def _tile(name: str, about: str, source: str, shown: str, kind: str = "", hint: str = "") -> str:
    checked = " checked" if source == PRESETS[0].source else ""
    return (
        f'<label class="tile{kind}" title="{escape(hint)}"><input type="radio" name="tile" '
        f'value="{escape(source)}"{checked}>{shown}<b>{escape(name)}</b>'
        f"<small>{escape(about)}</small></label>"
    )


def _pictures(at_hand: Sequence[str], drawing: str) -> str:
    drawn = f'<svg viewBox="0 0 24 24"><path d="{drawing}"/></svg>'
    shown = [f'<img src="{url}" alt="">' for url in at_hand[:PICTURES]]
    shown += [drawn] * (PICTURES - len(shown))
    return f'<span class="pictures" aria-hidden="true">{"".join(shown)}</span>'
