"""The card's pictures: PNG on opaque white, so that light and dark pages show them alike."""

import io
import math
import os
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from transfer.cache.paths import private_folder
from transfer.errors import CacheError
from transfer.publishing.card.escape import as_line
from transfer.publishing.card.mistakes import MistakeExample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_AN_INCH = 110
INK, FAINT, ACCURACY, LOSS = "#1f2933", "#5f6b7a", "#1d4ed8", "#b45309"
PHASES = {"warm-up": ("1 · Warm-up", "#fef3c7"), "fine-tune": ("2 · Fine-tune", "#dbeafe")}
CONFUSION_AT_MOST = 40  # classes; the names of more could not be read
NUMBERS_AT_MOST = 20  # classes whose counts fit into the cells
PICTURES_A_ROW = 4
LONGEST_LABEL, SHORT_LABEL = 22, 4  # characters

Curves = dict[str, list[dict]]  # phase → its epochs


def draw_curves(report: dict) -> bytes | None:
    """Accuracy and loss of both phases side by side; None if there was no phase."""
    curves = {name: report.get("curves", {}).get(name) for name in PHASES}
    curves = {name: curve for name, curve in curves.items() if curve}
    if not curves:
        return None
    figure = _figure(9.6, 3.7)
    accuracy, loss = figure.subplots(1, 2)
    for axes, title in ((accuracy, "Accuracy"), (loss, "Loss")):
        axes.set_title(title, loc="left", fontweight="bold", pad=20)
        _shade_phases(axes, curves)
    _line(accuracy, curves, "validation_accuracy", ACCURACY, "validation images", 100)
    _mark_kept(accuracy, curves)
    if before := report.get("stages", {}).get("features"):
        level = 100 * before["validation_accuracy"]
        accuracy.axhline(level, color=FAINT, linestyle=":", label="frozen features only")
    accuracy.set(ylabel="accuracy (%)", ylim=(0, 103))
    _line(loss, curves, "loss", LOSS, "training images")
    _line(loss, curves, "validation_loss", ACCURACY, "validation images")
    loss.set_ylabel("cross-entropy")
    loss.set_ylim(bottom=0)
    for axes in (accuracy, loss):
        if axes.get_lines():
            axes.legend(loc="best", fontsize=8.5)
    return _png(figure)


def _phases(curves: Curves) -> Iterator[tuple[str, int, list[dict]]]:
    """(name, where on the axis it starts, epochs): a phase starts where the one before ended."""
    start = 0
    for name, epochs in curves.items():
        yield name, start, epochs
        start += max(epoch["epoch"] for epoch in epochs)


def _shade_phases(axes: "Axes", curves: Curves) -> None:
    from matplotlib.ticker import MaxNLocator

    end = 0
    for name, start, epochs in _phases(curves):
        title, color = PHASES[name]
        end = start + max(epoch["epoch"] for epoch in epochs)
        axes.axvspan(start, end, color=color, linewidth=0, zorder=0)
        place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
        axes.text((start + end) / 2, 1.015, title, fontsize=8.5, color=FAINT, **place)
    axes.set(xlim=(0, max(end, 1)), xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(color="white", linewidth=1, zorder=1)


def _line(
    axes: "Axes", curves: Curves, key: str, color: str, label: str, factor: float = 1
) -> None:
    """One line per phase: the next phase starts from the best epoch of this one, not its last."""
    for _, start, epochs in _phases(curves):
        points = [
            (start + epoch["epoch"], factor * epoch[key])
            for epoch in epochs
            if epoch.get(key) is not None
        ]
        if points:
            style = {"marker": ".", "markersize": 4, "linewidth": 1.6, "clip_on": False}
            axes.plot(*zip(*points, strict=True), color=color, label=label, **style)
            label = None  # one entry in the legend


def _mark_kept(axes: "Axes", curves: Curves) -> None:
    label = "kept"
    for _, start, epochs in _phases(curves):
        best = [epoch for epoch in epochs if epoch.get("best")]
        if best:
            x, y = start + best[-1]["epoch"], 100 * best[-1]["validation_accuracy"]
            axes.plot(x, y, "o", color=ACCURACY, markersize=8, mfc="white", mew=1.8, label=label)
            label = None


def draw_confusion(classes: tuple[str, ...], confusion: list[list[int]]) -> bytes | None:
    """True classes down, predicted across, shaded by the share of each row; None if too many."""
    if not 2 <= len(classes) <= CONFUSION_AT_MOST:
        return None
    import numpy as np

    counts = np.asarray(confusion, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.6 + (0.36 if len(classes) <= NUMBERS_AT_MOST else 0.22) * len(classes)
    figure = _figure(side + 1.2, side)
    axes = figure.subplots()
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    names = [_drawable(name, i) for i, name in enumerate(classes)]
    long = max(map(len, names)) > SHORT_LABEL
    slanted = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if long else {}
    axes.set_xticks(range(len(names)), names, parse_math=False, **slanted)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_title("Confusion matrix", loc="left", fontweight="bold", pad=10)
    axes.set(xlabel="predicted class", ylabel="true class")
    if len(classes) <= NUMBERS_AT_MOST:
        for (row, column), count in np.ndenumerate(counts.astype(int)):
            color = "white" if shares[row, column] > 0.55 else INK if count else "#cbd2d9"
            axes.text(column, row, count, ha="center", va="center", color=color, fontsize=8.5)
    figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.8)
    return _png(figure)


def draw_mistakes(mistakes: list[MistakeExample]) -> bytes | None:
    """The images that were classified wrongly with the highest scores."""
    if not mistakes:
        return None
    rows = math.ceil(len(mistakes) / PICTURES_A_ROW)
    figure = _figure(9.6, 3.0 * rows)
    grid = figure.subplots(rows, PICTURES_A_ROW, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for axes, mistake in zip(grid.flat, mistakes, strict=False):
        smooth = "antialiased" if min(mistake.picture.size) > 64 else "nearest"
        axes.imshow(mistake.picture, interpolation=smooth)
        truth, predicted = (_drawable(name, i) for name, i in (mistake.truth, mistake.predicted))
        title = f"said {predicted} ({mistake.score:.0%})\nactually {truth}"
        axes.set_title(title, fontsize=9, parse_math=False)
    return _png(figure)


def _figure(width: float, height: float) -> "Figure":
    """In inches. Not through pyplot, which keeps figures and a back end for the whole process."""
    with suppress(CacheError):  # matplotlib's list of fonts belongs into our cache
        os.environ.setdefault("MPLCONFIGDIR", str(private_folder("matplotlib")))
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=DOTS_AN_INCH, facecolor="white", layout="constrained")


def _png(figure: "Figure") -> bytes:
    for axes in figure.axes:
        axes.tick_params(colors=INK, labelsize=8.5)
        axes.spines[:].set_visible(False)
    file = io.BytesIO()
    # without the version of matplotlib, so that the same numbers give the same file
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _drawable(name: str, number: int) -> str:
    """The name, or the class's number in the card's table if the font cannot write the name."""
    line = as_line(name, LONGEST_LABEL)
    leftward = ("R", "AL", "AN")  # right-to-left scripts, which matplotlib does not lay out
    drawable = all(
        ord(sign) in _font() and unicodedata.bidirectional(sign) not in leftward for sign in line
    )
    return line if drawable else f"class {number + 1}"


@cache
def _font() -> frozenset[int]:
    """The characters of matplotlib's own font."""
    from matplotlib import font_manager

    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())
