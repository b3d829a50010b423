"""
Figures over time as an SVG: one strip per figure, one above the other, with what was done to the node as lines through all.

Knows nothing of nodes. No library: an SVG is text, and this one is committed, so it should be small and the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WIDTH, LEFT, RIGHT, TOP, STRIP, GAP = 900, 74, 150, 34, 110, 26
COLOURS = ("#1f6feb", "#d4720b", "#2da44e", "#8250df", "#cf222e", "#57606a")


@dataclass
class Strip:
    """One figure, or several with the same unit."""

    title: str
    lines: dict[str, list[float]] = field(default_factory=dict)


def svg(title: str, minutes: list[float], strips: list[Strip], events: list[tuple[float, str]]) -> str:
    """Draw *strips*, whose lines have one value per entry of *minutes*."""
    height = TOP + len(strips) * (STRIP + GAP) + 24
    inner = WIDTH - LEFT - RIGHT
    last = max(minutes[-1], 1e-9)
    kinds = sorted({what for _, what in events})
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{title}</text>',
    ]

    def x(minute: float) -> float:
        return LEFT + inner * minute / last

    bottom = TOP + len(strips) * (STRIP + GAP) - GAP
    for minute, what in events:
        colour = COLOURS[kinds.index(what) % len(COLOURS)]
        parts.append(
            f'<line x1="{x(minute):.1f}" x2="{x(minute):.1f}" y1="{TOP}" y2="{bottom}" stroke="{colour}" '
            'stroke-width="0.7" stroke-dasharray="2 3" opacity="0.7"/>'
        )
    for number, what in enumerate(kinds):
        colour = COLOURS[number % len(COLOURS)]
        y = bottom - 15 * (len(kinds) - 1 - number) - 4  # beside the last strip, which has one line and so no names
        parts.append(
            f'<line x1="{WIDTH - RIGHT + 10}" x2="{WIDTH - RIGHT + 28}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" '
            f'stroke-dasharray="2 3"/><text x="{WIDTH - RIGHT + 32}" y="{y}">{what}</text>'
        )
    for number, strip in enumerate(strips):
        top = TOP + number * (STRIP + GAP)
        most = max([1e-9, *(value for line in strip.lines.values() for value in line)]) * 1.08
        parts += [
            f'<rect x="{LEFT}" y="{top}" width="{inner}" height="{STRIP}" fill="none" stroke="#ccc"/>',
            f'<text x="{LEFT}" y="{top - 4}" font-weight="bold">{strip.title}</text>',
            f'<text x="{LEFT - 5}" y="{top + 9}" text-anchor="end">{most:,.0f}</text>',
            f'<text x="{LEFT - 5}" y="{top + STRIP}" text-anchor="end">0</text>',
        ]
        for at, (name, line) in enumerate(strip.lines.items()):
            colour = COLOURS[at % len(COLOURS)]
            points = " ".join(
                f"{x(minute):.1f},{top + STRIP - STRIP * value / most:.1f}"
                for minute, value in _thinned(list(zip(minutes, line, strict=True)))
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
            if len(strip.lines) > 1 or number == 0:
                parts.append(
                    f'<text x="{WIDTH - RIGHT + 10}" y="{top + STRIP - 40 + 14 * at}" fill="{colour}">{name}</text>'
                )
    for tick in range(7):
        minute = last * tick / 6
        parts.append(f'<text x="{x(minute):.1f}" y="{bottom + 15}" text-anchor="middle">{minute:.0f} min</text>')
    return "\n".join([*parts, "</svg>", ""])


def _thinned(points: list[tuple[float, float]], most: int = 450) -> list[tuple[float, float]]:
    """Leave out what the eye could not tell apart, but no peak."""
    step = max(1, len(points) // (most // 2))
    kept: list[tuple[float, float]] = []
    for at in range(0, len(points), step):
        some = points[at : at + step]
        kept += sorted({min(some, key=lambda point: point[1]), max(some, key=lambda point: point[1])})
    return kept
