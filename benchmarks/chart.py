"""Charts as small SVG files: bars for who is how fast, lines for how it grows. Pure: numbers in, text out.

Colours follow the reader's light or dark mode; nothing is drawn behind the chart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 760
_ROW = 22
_LABEL = 230
_HEIGHT = 300
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 44, 20, 44

_STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 14px }
.grid { stroke: #d0d7de }
.ours, .s0 { fill: #1f6feb; stroke: #1f6feb }
.peer { fill: #8c959f; stroke: none }
.limit { fill: #d4a72c; stroke: none }
.s1 { fill: #bc4c00; stroke: #bc4c00 }
.s2 { fill: #1a7f37; stroke: #1a7f37 }
.s3 { fill: #8250df; stroke: #8250df }
.line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .grid { stroke: #30363d }
  .ours, .s0 { fill: #58a6ff; stroke: #58a6ff }
  .peer { fill: #6e7681 }
  .s1 { fill: #f0883e; stroke: #f0883e }
  .s2 { fill: #3fb950; stroke: #3fb950 }
  .s3 { fill: #bc8cff; stroke: #bc8cff }
  .line { fill: none }
}
</style>"""

Points = Sequence[tuple[float, float]]


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Return a chart of horizontal bars; a row is its label, its value, and ``ours``, ``peer`` or ``limit``."""
    top = max((value for _, value, _ in rows), default=1) or 1
    parts = [_text(8, 22, title, "title")]
    for number, (label, value, kind) in enumerate(rows):
        y = 36 + number * _ROW
        width = (WIDTH - _LABEL - 80) * value / top
        parts.append(_text(_LABEL - 8, y + 14, label, anchor="end"))
        parts.append(f'<rect class="{kind}" x="{_LABEL}" y="{y + 3}" width="{width:.1f}" height="{_ROW - 7}" rx="2"/>')
        parts.append(_text(_LABEL + width + 6, y + 14, short(value)))
    return _svg(parts, 44 + _ROW * len(rows), title)


def lines(title: str, x_label: str, series: Mapping[str, Points], *, log_x: bool = False) -> str:
    """Return a chart of lines over a common x axis; the y axis begins at 0."""
    points = [point for each in series.values() for point in each]
    if not points:
        return _svg([_text(8, 22, f"{title}: not measured", "title")], 40, title)
    xs = [x for x, _ in points]
    low, high = min(xs), max(xs)
    top = _round_up(max(y for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * _share(x, low, high, log_x), _HEIGHT - _BOTTOM - y / top * (
            _HEIGHT - _TOP - _BOTTOM
        )

    parts = [_text(8, 22, title, "title"), *_y_axis(top, place, low), *_x_axis(xs, place, log_x)]
    parts.append(_text((WIDTH + _LEFT) / 2, _HEIGHT - 8, x_label, anchor="middle"))
    for number, (name, each) in enumerate(series.items()):
        parts += _line(number, name, [place(x, y) for x, y in each])
    return _svg(parts, _HEIGHT, title)


def short(value: float) -> str:
    """Return a number as an axis has it: 950, 1.5k, 20k, 1M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _share(x: float, low: float, high: float, log_x: bool) -> float:
    if high == low:
        return 0.5
    if log_x:
        return (math.log10(x) - math.log10(low)) / (math.log10(high) - math.log10(low))
    return (x - low) / (high - low)


def _round_up(value: float) -> float:
    """Return the next number that four steps divide well."""
    size: float = 10 ** math.floor(math.log10(value)) if value > 0 else 1
    return next(step * size for step in (1, 2, 4, 6, 8, 10) if step * size >= value)


def _y_axis(top: float, place, low: float) -> list[str]:  # type: ignore[no-untyped-def]
    parts = []
    for step in range(5):
        _, y = place(low, top * step / 4)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 8, y + 4, short(top * step / 4), anchor="end"))
    return parts


def _x_axis(xs: Sequence[float], place, log_x: bool) -> list[str]:  # type: ignore[no-untyped-def]
    if log_x:
        ticks = sorted(set(xs))
    else:
        ticks = [min(xs) + (max(xs) - min(xs)) * step / 5 for step in range(6)]
    return [_text(place(x, 0)[0], _HEIGHT - _BOTTOM + 18, short(x), anchor="middle") for x in ticks]


def _line(number: int, name: str, places: Sequence[tuple[float, float]]) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x = _LEFT + 10 + number * 170
    parts = [f'<polyline class="s{number} line" points="{path}"/>']
    if len(places) <= 12:
        parts += [f'<circle class="s{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
    parts.append(f'<rect class="s{number}" x="{x}" y="31" width="14" height="4"/>')
    parts.append(_text(x + 20, 37, name))
    return parts


def _text(x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], height: int, title: str) -> str:
    opened = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">'
    )
    return "\n".join([opened, _STYLE, *parts, "</svg>", ""])
