"""Charts as SVG, drawn by hand: panels with axes, lines and bands, and tables of coloured cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

#: Colours that can be told apart, also by those who see no red.
COLOURS = ("#222222", "#2b6cb0", "#d9731a", "#2f9e77", "#a83279", "#6b4fbb", "#c1121f", "#8a6d00", "#7a7a7a")
#: What is said of a cell or point that has no value to be shown.
NO_COLOUR = "#d9d9d6"
STYLE = (
    "text{font-family:system-ui,sans-serif;font-size:10px;fill:#222}.title{font-size:11px;font-weight:600}"
    ".label{fill:#555}.tick{fill:#555;font-size:9px}.cell{font-size:9px}.frame{fill:none;stroke:#888;stroke-width:.6}"
    ".grid{stroke:#e4e4e0;stroke-width:.6}"
)

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high`, `low` > 0 where they are spaced by ratio (`log`)."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, 0 at `low` and 1 at `high`.

        >>> Scale(1, 100, log=True).share(10), Scale(0, 4).share(1)
        (0.5, 0.25)
        """
        low, high, value = (math.log(each) if self.log else each for each in (self.low, self.high, value))
        return (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round values, four to eight of them where the scale is no narrower than that.

        >>> Scale(0, 1).ticks(), Scale(0.4, 30, log=True).ticks()
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.5, 1.0, 2.0, 5.0, 10.0, 20.0])
        """
        if not self.log:
            step = _step((self.high - self.low) / 5)
            first = math.ceil(self.low / step - 1e-9)
            return [round(place * step, 12) for place in range(first, math.floor(self.high / step + 1e-9) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        mantissas = (1, 2, 5) if len(decades) <= 4 else (1,)
        values = [float(f"{mantissa}e{power}") for power in decades for mantissa in mantissas]
        return [value for value in values if self.low * 0.999 <= value <= self.high * 1.001]


def _step(wanted: float) -> float:
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(mantissa * power for mantissa in (1, 2, 5, 10) if mantissa * power >= wanted * 0.999)


def spanning(values: Sequence[float], log: bool = False) -> Scale:
    """A scale on which all of the values lie, with a little room; one of ratios leaves out what is not above 0."""
    inside = [value for value in values if math.isfinite(value) and (value > 0 or not log)] or [1.0]
    low, high = min(inside), max(inside)
    if log:
        return Scale(low / 1.1, high * 1.1, log)
    room = 0.05 * (high - low) or 0.5
    return Scale(low - room, high + room)


@dataclass(frozen=True)
class Panel:
    """A chart's area in pixels, and the scales of its axes."""

    left: float
    top: float
    width: float
    height: float
    x: Scale
    y: Scale

    def at(self, point: Point) -> Point:
        """The pixel of a point, held within the panel."""
        x, y = (min(max(scale.share(value), 0.0), 1.0) for scale, value in zip((self.x, self.y), point, strict=True))
        return self.left + x * self.width, self.top + (1 - y) * self.height

    def frame(self, title: str, x_label: str, y_label: str) -> list[str]:
        """The axes with their ticks and names."""
        right, bottom = self.left + self.width, self.top + self.height
        parts = []
        for value in self.x.ticks():
            x, _ = self.at((value, self.y.low))
            parts.append(f'<path class="grid" d="M{x:.1f} {self.top:.1f}V{bottom:.1f}"/>')
            parts.append(text(x, bottom + 11, number(value), "tick", "middle"))
        for value in self.y.ticks():
            _, y = self.at((self.x.low, value))
            parts.append(f'<path class="grid" d="M{self.left:.1f} {y:.1f}H{right:.1f}"/>')
            parts.append(text(self.left - 4, y + 3, number(value), "tick", "end"))
        parts.append(
            f'<rect class="frame" x="{self.left:.1f}" y="{self.top:.1f}" width="{self.width}" height="{self.height}"/>'
        )
        parts.append(text(self.left, self.top - 7, title, "title"))
        parts.append(text((self.left + right) / 2, bottom + 24, x_label, "label", "middle"))
        if y_label:
            x, y = self.left - 34, self.top + self.height / 2
            parts.append(
                f'<text class="label" text-anchor="middle" transform="translate({x:.1f} {y:.1f}) rotate(-90)">'
                f"{escape(y_label)}</text>"
            )
        return parts

    def line(self, points: Sequence[Point], colour: str, dash: str = "") -> list[str]:
        """A line through the points, with a dot at each."""
        if not points:
            return []
        places = [self.at(point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.9" fill="{colour}"/>' for x, y in places]
        return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dashed}/>', *dots]

    def band(self, low: Sequence[Point], high: Sequence[Point], colour: str) -> list[str]:
        """What lies between two lines of the same places, shaded."""
        if len(low) < 2:
            return []
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.at, [*low, *reversed(high)]))
        return [f'<polygon points="{path}" fill="{colour}" fill-opacity=".15"/>']

    def cross(self, point: Point, colour: str) -> list[str]:
        """A cross, for a point that stands apart."""
        x, y = self.at(point)
        arm = "M{:.1f} {:.1f}l6 6m0 -6l-6 6"
        return [f'<path d="{arm.format(x - 3, y - 3)}" stroke="{colour}" stroke-width="1.3"/>']


def legend(left: float, top: float, entries: Sequence[tuple[str, str, str]]) -> list[str]:
    """A line for each (label, colour, dash)."""
    parts = []
    for place, (label, colour, dash) in enumerate(entries):
        y = top + 15 * place
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(f'<path d="M{left:.1f} {y:.1f}h18" stroke="{colour}" stroke-width="1.8"{dashed}/>')
        parts.append(text(left + 23, y + 3.5, label))
    return parts


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what it says and its colour."""

    says: str
    colour: str = NO_COLOUR


def cells(
    left: float, top: float, size: tuple[float, float], rows: Sequence[Sequence[Cell]], columns: Sequence[str]
) -> list[str]:
    """A table of coloured cells of `size` pixels under the names of its columns."""
    width, height = size
    parts = [text(left + (place + 0.5) * width, top - 4, name, "tick", "middle") for place, name in enumerate(columns)]
    for down, row in enumerate(rows):
        for along, cell in enumerate(row):
            x, y = left + along * width, top + down * height
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width - 1:.1f}" height="{height - 1:.1f}" '
                f'fill="{cell.colour}"/>'
            )
            parts.append(text(x + width / 2, y + height / 2 + 3, cell.says, "cell", "middle"))
    return parts


def ramp(scale: Scale, dark: tuple[int, int, int]) -> Callable[[float], str]:
    """From white at the low end of a scale to a `dark` colour (red, green, blue) at its high end.

    >>> ramp(Scale(0, 1), (0, 0, 0))(1), ramp(Scale(0, 1), (0, 0, 0))(-3)
    ('#000000', '#ffffff')
    """

    def colour(value: float) -> str:
        share = min(max(scale.share(min(max(value, scale.low), scale.high)), 0.0), 1.0)
        return "#" + "".join(f"{round(255 + (end - 255) * share):02x}" for end in dark)

    return colour


def text(x: float, y: float, says: str, kind: str = "", anchor: str = "start") -> str:
    """A line of text."""
    style = f' class="{kind}"' if kind else ""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}{place}>{escape(says)}</text>'


def number(value: float) -> str:
    """A tick's label.

    >>> number(0.5), number(20000), number(1.0), number(0.0002)
    ('0.5', '20,000', '1', '0.0002')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def page(width: float, height: float, parts: Sequence[str]) -> str:
    """The file."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}">'
    paper = f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", paper, *parts, "</svg>"]) + "\n"
