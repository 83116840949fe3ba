"""A small writer of charts: axes, marks and words as SVG that reads well on light and on dark pages."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

COLOURS: Final = {
    "ours": ("#1d4ed8", "#7db1ff"),
    "alone": ("#0e7490", "#4fd1e6"),
    "kayenta": ("#b45309", "#fbbf57"),
    "flagger": ("#b91c1c", "#ff8f8f"),
    "argo": ("#6d28d9", "#c3a6ff"),
    "arbr": ("#047857", "#4fd9a5"),
    "peek": ("#57606a", "#aab4c0"),
    "msprt": ("#9d174d", "#f59ac2"),
}
"""Each name on a light and on a dark page; marks differ in shape too, so that colour says nothing alone."""

_STYLE: Final = """
svg{--bg:#ffffff;--ink:#1f2328;--soft:#59636e;--line:#d1d9e0;--warn:#b91c1c;%s;
font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}
@media (prefers-color-scheme:dark){svg{--bg:#0d1117;--ink:#e6edf3;--soft:#9ba7b4;--line:#30363d;--warn:#ff8f8f;%s}}
.bg{fill:var(--bg)}.ink{fill:var(--ink)}.soft{fill:var(--soft)}.warn{fill:var(--warn)}
.axis{stroke:var(--line);stroke-width:1;fill:none}.limit{stroke:var(--warn);stroke-width:1.5;stroke-dasharray:5 4;fill:none}
text{font-size:12px}.title{font-size:16px;font-weight:600}.panel{font-size:13px;font-weight:600}.small{font-size:11px}
"""


class Chart:
    """One picture, made of parts in the order in which they are drawn."""

    def __init__(self, width: int, height: int, title: str, *, under: str = "") -> None:
        self.width, self.height = width, height
        self._parts: list[str] = []
        self._title = title
        self.text(20, 28, title, kind="ink title")
        if under:
            self.text(20, 48, under, kind="soft")

    def text(self, x: float, y: float, words: str, *, kind: str = "ink", anchor: str = "start") -> None:
        """Words at a baseline; `kind` is a class of the style."""
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, *, kind: str = "axis", colour: str = "") -> None:
        """A straight line, of a class or of a colour."""
        style = f'stroke="var(--{colour})" stroke-width="1.5"' if colour else f'class="{kind}"'
        self._parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>')

    def path(self, points: Sequence[tuple[float, float]], colour: str, *, width: float = 1.5, faint: bool = False) -> None:
        """Points joined in order."""
        if points:
            d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            look = f'stroke="var(--{colour})" stroke-width="{width}" opacity="{0.55 if faint else 1}"'
            self._parts.append(f'<path d="{d}" fill="none" stroke-linejoin="round" {look}/>')

    def bar(self, x: float, y: float, width: float, height: float, *, colour: str) -> None:
        """A filled bar."""
        place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.8):.1f}" height="{height:.1f}"'
        self._parts.append(f'<rect {place} rx="1.5" fill="var(--{colour})"/>')

    def mark(self, x: float, y: float, colour: str, *, shape: str = "circle", size: float = 4.5) -> None:
        """A dot, square, diamond or triangle."""
        if shape == "circle":
            self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="var(--{colour})"/>')
            return
        corners = {
            "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
            "diamond": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
            "triangle": [(0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
        }[shape]
        points = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
        self._parts.append(f'<polygon points="{points}" fill="var(--{colour})"/>')

    def render(self) -> str:
        """The whole document."""
        light, dark = (";".join(f"--{name}:{pair[k]}" for name, pair in COLOURS.items()) for k in (0, 1))
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img"'
        body = "\n".join(self._parts)
        size = f'width="{self.width}" height="{self.height}"'
        label = f"<title>{escape(self._title)}</title>"
        style = f"<style>{_STYLE % (light, dark)}</style>"
        return f'{head} {size}>\n{label}\n{style}\n<rect class="bg" {size}/>\n{body}\n</svg>\n'


class Scale:
    """From values to places, straight or by logarithm."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool = False) -> None:
        self._log, self.low, self.high = log, low, high
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        """Where the value lies; values beyond an end lie at it."""
        value = min(max(value, self.low), self.high)
        low, high, at = (math.log(v) if self._log else v for v in (self.low, self.high, value))
        return self._start + (at - low) / (high - low) * (self._end - self._start)

    def decades(self) -> list[float]:
        """1, 10, 100, ... within a logarithmic scale."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        return [10.0**power for power in range(first, last + 1)]


def short(value: float) -> str:
    """`12k`, `350`, `.02`."""
    if value >= 1_000:
        text = f"{value / 1_000:.1f}".removesuffix(".0")
        return f"{text}k"
    return f"{value:g}".removeprefix("0") if value < 1 else f"{value:g}"
