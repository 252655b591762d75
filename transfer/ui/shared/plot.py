"""The axes of a chart and what is drawn between them, as SVG that the style sheet colours."""

from collections.abc import Callable
from itertools import starmap
from typing import NamedTuple

LEFT, RIGHT, BOTTOM = 48, 16, 36  # margins in SVG units, which hold the axes' labels


class Axis(NamedTuple):
    """From `low` to `high`, labelled at `marks`; what lies beyond an end is drawn at that end."""

    low: float
    high: float
    marks: tuple[float, ...] = ()
    label: Callable[[float], str] = "{:.0%}".format
    scale: Callable[[float], float] = float  # or math.log

    def place(self, value: float) -> float:
        """0 at `low`, 1 at `high`."""
        within = min(max(value, self.low), self.high)
        low, high, at = map(self.scale, (self.low, self.high, within))
        return (at - low) / (high - low)


SHARE = Axis(0, 1, (0, 0.5, 1))


class Plot(NamedTuple):
    """Its methods take values of the axes; `kind` is a class in the style sheet."""

    x: Axis
    y: Axis
    width: int  # in SVG units, as is the rest
    height: int
    top: int = 12

    def at(self, x: float, y: float) -> tuple[float, float]:
        right = (self.width - LEFT - RIGHT) * self.x.place(x)
        up = (self.height - self.top - BOTTOM) * self.y.place(y)
        return round(LEFT + right, 1), round(self.height - BOTTOM - up, 1)

    def line(self, kind: str, *points: tuple[float, float]) -> str:
        path = " ".join(f"{x},{y}" for x, y in starmap(self.at, points))
        return f'<polyline class="{kind}" points="{path}"/>'

    def dot(self, kind: str, x: float, y: float, radius: float = 3.5) -> str:
        x, y = self.at(x, y)
        return f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius:.1f}"/>'

    def svg(self, label: str, title: str, *parts: str) -> str:
        """The parts between their axes. `label` is what a screen reader says of them, `title` that
        of the horizontal axis."""
        drawn = []
        for y in self.y.marks:
            drawn.append(self.line("grid", (self.x.low, y), (self.x.high, y)))
            drawn.append(text(LEFT - 6, self.at(self.x.low, y)[1] + 4, self.y.label(y), "end"))
        for x in self.x.marks:
            place = self.at(x, self.y.low)[0], self.height - BOTTOM + 16
            drawn.append(text(*place, self.x.label(x), "end" if x == self.x.high else "middle"))
        drawn.append(text((LEFT + self.width - RIGHT) / 2, self.height - 4, title))
        return (
            f'<svg role="img" aria-label="{label}" viewBox="0 0 {self.width} {self.height}">'
            f"{''.join([*drawn, *parts])}</svg>"
        )


def text(x: float, y: float, words: str, anchor: str = "middle", kind: str = "") -> str:
    """At a place in SVG units."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'
