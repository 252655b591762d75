"""The card's pictures: PNG on opaque white, so that light and dark pages show them alike."""

import io
import math
import os
import unicodedata
from collections.abc import Callable
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
CONFUSION_AT_MOST = 40
NUMBERS_AT_MOST = 20
PICTURES_A_ROW = 4
LONGEST_LABEL, SHORT_LABEL = 22, 4


def draw_curves(report: dict) -> bytes | None:
    """Accuracy and loss of both phases side by side; None where there was no phase to draw."""
    curves = {name: curve for name, curve in report.get("curves", {}).items() if name in PHASES}
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
        accuracy.axhline(level, color=FAINT, linestyle=":", label="body features only")
    accuracy.set(ylabel="right answers (%)", ylim=(0, 103))
    _line(loss, curves, "loss", LOSS, "training images", 1)
    _line(loss, curves, "validation_loss", ACCURACY, "validation images", 1)
    loss.set_ylabel("cross-entropy")
    loss.set_ylim(bottom=0)
    for axes in (accuracy, loss):
        if axes.get_lines():
            axes.legend(loc="best", fontsize=8.5)
    return _png(figure)


def _starts(curves: dict[str, list[dict]]) -> dict[str, int]:
    """Where on the axis of epochs each phase begins: where the one before it ended."""
    starts, at = {}, 0
    for name in PHASES:
        if name in curves:
            starts[name] = at
            at += max(epoch["epoch"] for epoch in curves[name])
    return starts


def _shade_phases(axes: "Axes", curves: dict[str, list[dict]]) -> None:
    from matplotlib.ticker import MaxNLocator

    starts = _starts(curves)
    end = 0
    for name, start in starts.items():
        title, colour = PHASES[name]
        end = start + max(epoch["epoch"] for epoch in curves[name])
        axes.axvspan(start, end, color=colour, linewidth=0, zorder=0)
        axes.text(
            (start + end) / 2, 1.015, title, transform=axes.get_xaxis_transform(), ha="center",
            va="bottom", fontsize=8.5, color=FAINT,
        )  # fmt: skip
    axes.set_xlim(0, max(end, 1))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.grid(color="white", linewidth=1, zorder=1)


def _line(axes: "Axes", curves, key: str, colour: str, label: str, times: float) -> None:
    """One line a phase: what the next one begins with is the best of this one, not its last."""
    for name, start in _starts(curves).items():
        points = [
            (start + epoch["epoch"], times * epoch[key])
            for epoch in curves[name]
            if epoch.get(key) is not None
        ]
        if points:
            x, y = zip(*points, strict=True)
            style = {"marker": ".", "markersize": 4, "linewidth": 1.6, "clip_on": False}
            axes.plot(x, y, color=colour, label=label, **style)
            label = None


def _mark_kept(axes: "Axes", curves: dict[str, list[dict]]) -> None:
    label = "kept"
    for name, start in _starts(curves).items():
        best = [epoch for epoch in curves[name] if epoch.get("best")]
        if best:
            x, y = start + best[-1]["epoch"], 100 * best[-1]["validation_accuracy"]
            axes.plot(x, y, "o", color=ACCURACY, markersize=8, mfc="white", mew=1.8, label=label)
            label = None


def draw_confusion(classes: tuple[str, ...], confusion: list[list[int]]) -> bytes | None:
    """Truth down, answer across, shaded by the share of each row; None for too many classes."""
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
    places = range(len(classes))
    if max(map(len, names)) > SHORT_LABEL:
        axes.set_xticks(places, names, rotation=60, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(places, names)
    axes.set_yticks(places, names)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    axes.set_title("What was taken for what", loc="left", fontweight="bold", pad=10)
    axes.set(xlabel="answer", ylabel="truth")
    if len(classes) <= NUMBERS_AT_MOST:
        _write_counts(axes, confusion, shares)
    figure.colorbar(image, ax=axes, label="share of the class (%)", shrink=0.8)
    return _png(figure)


def _write_counts(axes: "Axes", confusion: list[list[int]], shares) -> None:
    for row, counts in enumerate(confusion):
        for column, count in enumerate(counts):
            colour = "white" if shares[row, column] > 0.55 else INK if count else "#cbd2d9"
            axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=8.5)


def draw_mistakes(shown: list[MistakeExample]) -> bytes | None:
    """The pictures that were answered wrongly with the most confidence, each with its answer."""
    if not shown:
        return None
    rows = math.ceil(len(shown) / PICTURES_A_ROW)
    figure = _figure(9.6, 3.0 * rows)
    grid = figure.subplots(rows, PICTURES_A_ROW, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for axes, mistake in zip(grid.flat, shown, strict=False):
        smooth = "antialiased" if min(mistake.picture.size) > 64 else "nearest"
        axes.imshow(mistake.picture, interpolation=smooth)
        truth, answer = (_drawable(name, i) for name, i in (mistake.truth, mistake.answer))
        gap = "\n" if len(truth) + len(answer) > LONGEST_LABEL else " "
        title = f"{truth}, taken for{gap}{answer}\n{mistake.score:.0%} sure"
        axes.set_title(title, fontsize=9, parse_math=False)
    return _png(figure)


def _figure(width: float, height: float) -> "Figure":
    """In inches. Drawn without pyplot, which keeps figures and a back end for the whole process."""
    with suppress(CacheError):  # it keeps a list of fonts, which belongs into our cache
        os.environ.setdefault("MPLCONFIGDIR", str(private_folder("matplotlib")))
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=DOTS_AN_INCH, facecolor="white", layout="constrained")


def _png(figure: "Figure") -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for axes in figure.axes:
        axes.tick_params(colors=INK, labelsize=8.5)
        for spine in axes.spines.values():
            spine.set_visible(False)
    file = io.BytesIO()
    # without the version of matplotlib, so that the same figures give the same file
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


def _drawable(name: str, number: int) -> str:
    """The name, or its number in the card's table where the font cannot write it."""
    line = as_line(name, LONGEST_LABEL)
    return line if all(map(_font_has(), line)) else f"class {number + 1}"


@cache
def _font_has() -> Callable[[str], bool]:
    """Whether matplotlib's own font has a sign and writes it from left to right."""
    from matplotlib import font_manager

    path = font_manager.findfont("DejaVu Sans")
    signs = frozenset(font_manager.get_font(path).get_charmap())
    leftward = ("R", "AL", "AN")
    return lambda sign: ord(sign) in signs and unicodedata.bidirectional(sign) not in leftward
