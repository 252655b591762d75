"""The card's pictures: PNG on opaque white, so that light and dark pages show them alike."""

import io
import math
import os
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from transfer.cache.paths import private_folder
from transfer.errors import CacheError
from transfer.publishing.card.escape import as_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

DOTS_AN_INCH = 110
INK, FAINT, ACCURACY, LOSS = "#1f2933", "#5f6b7a", "#1d4ed8", "#b45309"
PHASES = {"warm-up": ("1 · Warm-up", "#fef3c7"), "fine-tune": ("2 · Fine-tune", "#dbeafe")}
CONFUSION_AT_MOST = 40  # classes; the names of more could not be read
NUMBERS_AT_MOST = 20  # classes whose counts fit into the cells
PICTURES_A_ROW = 4
LONGEST_LABEL, SHORT_LABEL = 22, 4  # characters

LINES = (  # (left or right plot, what of an epoch, factor, color, label)
    (0, "validation_accuracy", 100, ACCURACY, "validation images"),
    (1, "loss", 1, LOSS, "training images"),
    (1, "validation_loss", 1, ACCURACY, "validation images"),
)


def draw_thumbnail(name: str, classes: Sequence[str], report: dict) -> bytes:
    """What links to a page show of it: its name, its classes and how good it is."""
    figure = _figure(10.9, 5.7)
    lines = (
        (0.62, as_line(name.rpartition("/")[2], 34), 38, INK),
        (0.42, as_line(", ".join(classes), 60), 20, FAINT),
        (0.26, f"{report['accuracy']:.0%} of {report['images']:,} test photos right", 20, ACCURACY),
    )
    for height, text, size, color in lines:
        figure.text(0.07, height, text, size=size, color=color)
    return _png(figure)


def draw_curves(report: dict) -> bytes | None:
    """Accuracy and loss of both phases side by side; None if there was no phase."""
    from matplotlib.ticker import MaxNLocator

    curves = {name: report.get("curves", {}).get(name) for name in PHASES}
    if not any(curves.values()):
        return None
    figure = _figure(9.6, 3.7)
    accuracy, loss = plots = figure.subplots(1, 2)
    end = 0  # where on the axis the next phase starts
    for name, epochs in curves.items():
        end = _draw_phase(plots, name, epochs, end) if epochs else end
    if before := report.get("stages", {}).get("features"):
        level = 100 * before["validation_accuracy"]
        accuracy.axhline(level, color=FAINT, linestyle=":", label="frozen features only")
    accuracy.set(ylabel="accuracy (%)", ylim=(0, 103))
    loss.set_ylabel("cross-entropy")
    loss.set_ylim(bottom=0)
    for axes, title in ((accuracy, "Accuracy"), (loss, "Loss")):
        axes.set_title(title, loc="left", fontweight="bold", pad=20)
        axes.set(xlim=(0, max(end, 1)), xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.grid(color="white", linewidth=1, zorder=1)
        handles, labels = axes.get_legend_handles_labels()
        entries = dict(zip(labels, handles, strict=True))  # one for both phases
        axes.legend(entries.values(), entries.keys(), loc="best", fontsize=8.5)
    return _png(figure)


def _draw_phase(plots: Sequence["Axes"], name: str, epochs: list[dict], start: int) -> int:
    """Draw it to the right of `start`; returns where it ends.

    The lines of two phases are not joined: the second starts from what the first saved.
    """
    import numpy as np

    title, shade = PHASES[name]
    x = [start + epoch["epoch"] for epoch in epochs]
    for axes in plots:
        axes.axvspan(start, max(x), color=shade, linewidth=0, zorder=0)
        place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
        axes.text((start + max(x)) / 2, 1.015, title, fontsize=8.5, color=FAINT, **place)
    style = {"marker": ".", "markersize": 4, "linewidth": 1.6, "clip_on": False}
    for side, key, factor, color, label in LINES:
        y = factor * np.array([epoch.get(key) for epoch in epochs], dtype=float)  # None is NaN
        plots[side].plot(x, y, color=color, label=label, **style)
    if best := [epoch for epoch in epochs if epoch.get("best")]:
        saved = start + best[-1]["epoch"], 100 * best[-1]["validation_accuracy"]
        ring = {"color": ACCURACY, "markersize": 8, "mfc": "white", "mew": 1.8}
        plots[0].plot(*saved, "o", label="saved", **ring)
    return max(x)


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


def draw_reliability(report: dict) -> bytes | None:
    """Accuracy over score before and after calibration; None for a run of an older version."""
    if not (calibration := report.get("calibration")):
        return None
    axes = (figure := _figure(4.8, 4.4)).subplots()
    axes.plot([0, 100], [0, 100], color=FAINT, linestyle=":", label="ideal")
    for name, color, label in (
        ("before", LOSS, "before"),
        ("after", ACCURACY, "after calibration"),
    ):
        bins = calibration[name]["bins"]
        x, y = ([100 * part[key] for part in bins] for key in ("confidence", "accuracy"))
        size = [20 + 300 * part["images"] / report["images"] for part in bins]
        axes.scatter(x, y, size, color=color, alpha=0.7, label=label, clip_on=False, zorder=2)
    axes.set_title("Reliability", loc="left", fontweight="bold", pad=10)
    axes.set(xlabel="score (%)", ylabel="accuracy (%)", xlim=(0, 100), ylim=(0, 100))
    axes.legend(loc="upper left", fontsize=8.5)
    return _png(figure)


def draw_mistakes(mistakes: list[tuple["Image", dict]], classes: tuple[str, ...]) -> bytes | None:
    """The images that were classified wrongly with the highest scores."""
    if not mistakes:
        return None
    rows = math.ceil(len(mistakes) / PICTURES_A_ROW)
    grid = (figure := _figure(9.6, 3.0 * rows)).subplots(rows, PICTURES_A_ROW, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for axes, (picture, mistake) in zip(grid.flat, mistakes, strict=False):
        smooth = "antialiased" if min(picture.size) > 64 else "nearest"
        axes.imshow(picture, interpolation=smooth)
        names = mistake["predicted"], mistake["label"]
        predicted, truth = (_drawable(name, classes.index(name)) for name in names)
        title = f"said {predicted} ({mistake['score']:.0%})\nactually {truth}"
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
