"""
Samples → one picture (SVG): how many times as good as nginx each server is, row by row, on a logarithmic scale.

By CPU time per request wherever that is what a row is about: it holds on a machine that others use too. Latency and memory
by themselves.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from rows import ROWS, By
from table import SECOND, middle

if TYPE_CHECKING:
    from rows import Row
    from table import Results

LEFT, WIDTH, LINE, TOP = 300, 560, 30, 70
LOW, HIGH = 1 / 16, 32
COLOURS = {"edge": "#c2410c", "nginx": "#15803d", "haproxy": "#1d4ed8", "varnish": "#0891b2", "ats": "#7c3aed",
           "caddy": "#737373"}  # fmt: skip


def plot(results: Results) -> str:
    """Draw it."""
    rows = [row for row in ROWS if row.name in results and row.compare is not By.GROWTH]
    names = [name for name in COLOURS if any(name in results[row.name] for row in rows)]
    bottom = TOP + LINE * len(rows)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 30} {bottom + 40}" '
            'font-family="system-ui, sans-serif" font-size="13">'
        ),
        '<rect width="100%" height="100%" fill="#fff"/>',
        (
            f'<text x="{LEFT}" y="20" fill="#111">times as good as nginx, one worker on one core '
            "(by CPU time; latency and memory by themselves)</text>"
        ),
    ]
    for at, name in enumerate(names):
        x = LEFT + at * 92
        parts.append(dot(x + 6, 42, name) + f'<text x="{x + 16}" y="46" fill="#111">{name}</text>')
    for power in range(round(math.log2(LOW)), round(math.log2(HIGH)) + 1):
        value = 2.0**power
        x = place(value)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 10}" y2="{bottom}" '
            f'stroke="{"#111" if power == 0 else "#ddd"}"/>'
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555">'
            f"{f'{value:g}' if power >= 0 else f'1/{1 / value:g}'}</text>"
        )
    for at, row in enumerate(rows):
        y = TOP + LINE * at + LINE / 2
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end" fill="#111">{escape(label(row))}</text>')
        # The edge last, so that nobody hides it.
        for name in sorted(names, key=lambda each: each == "edge"):
            times = advantage(row, results, name)
            if times is not None:
                parts.append(dot(place(times), y, name, f"{row.name}, {name}: {times:.2f}"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def advantage(row: Row, results: Results, name: str) -> float | None:
    """How many times as good as nginx."""
    by = row.compare if row.compare in (By.P99, By.MEMORY) else By.CPU
    ours, theirs = (middle(results[row.name].get(each, []), by) for each in (name, SECOND))
    return theirs / ours if ours and theirs else None


def label(row: Row) -> str:
    """The row's name, with what it is compared by."""
    return row.name + {By.P99: ", p99", By.MEMORY: ", memory"}.get(row.compare, "")


def place(times: float) -> float:
    """Where a ratio lies."""
    inside = min(max(times, LOW), HIGH)
    return LEFT + WIDTH * (math.log(inside) - math.log(LOW)) / (math.log(HIGH) - math.log(LOW))


def dot(x: float, y: float, name: str, title: str = "") -> str:
    """One server's mark."""
    said = f"<title>{escape(title)}</title>" if title else ""
    radius = 6.5 if name == "edge" else 4.5
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{COLOURS[name]}" fill-opacity=".85">{said}</circle>'
