"""
Samples → tables: the edge beside nginx with what is asked of it, all servers by CPU and rate, and what was left out.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from rows import ROWS, By

if TYPE_CHECKING:
    from generator import Sample
    from rows import Row

Results = dict[str, dict[str, "list[Sample] | str"]]
"""Row → server → its samples, or why there are none."""

FIRST, SECOND = "edge", "nginx"
UNITS = {
    By.RATE: "/s",
    By.BYTES: "MiB/s",
    By.CPU: "µs CPU",
    By.P99: "ms p99",
    By.MEMORY: "KiB each",
    By.GROWTH: "× one",
}


def tables(results: Results) -> str:
    """All tables, as markdown."""
    return "\n\n".join(part for part in (compared(results), everyone(results), left_out(results)) if part)


def compared(results: Results) -> str:
    """The first server beside the second, row by row, medians over rounds."""
    head = ["row", "by", FIRST, SECOND, "ratio", "at least", f"{FIRST}, µs CPU", f"{SECOND}, µs CPU", "ratio by CPU",
            f"{FIRST}, p50 / p99 / p99.9 ms", f"{SECOND}", f"{FIRST}, MiB", f"{SECOND}, MiB"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---|---" + "|--:" * (len(head) - 2) + "|"]
    for row in ROWS:
        if row.name not in results:
            continue
        ours, theirs = (results[row.name].get(name, []) for name in (FIRST, SECOND))
        cells = [row.name, UNITS[row.compare]]
        cells += [figure(middle(each, row.compare)) for each in (ours, theirs)]
        cells += [shown(ratio(row, ours, theirs), "{:.2f}"), asked(row, ours, theirs)]
        cpu = [middle(each, By.CPU) for each in (ours, theirs)]
        cells += [shown(each, "{:,.1f}") for each in cpu]
        cells += [shown(cpu[1] / cpu[0] if cpu[0] and cpu[1] else None, "{:.2f}")]
        cells += [" / ".join(shown(median(each, what), "{:.2f}") for what in ("p50_ms", "p99_ms", "p999_ms"))
                  for each in (ours, theirs)]  # fmt: skip
        cells += [shown(median(each, "memory_mib"), "{:,.0f}") for each in (ours, theirs)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else ""


def everyone(results: Results) -> str:
    """What a request costs each server, and how many it answers (or the figure the row is about)."""
    names = list(dict.fromkeys(name for each in results.values() for name in each))
    head = ["row", *names]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * len(names) + "|"]
    for row in ROWS:
        if row.name not in results:
            continue
        cells = [row.name]
        for name in names:
            samples = results[row.name].get(name, [])
            value, cpu = middle(samples, row.compare), middle(samples, By.CPU)
            if value is None or cpu is None:
                cells.append("–")
            elif row.compare is By.CPU:
                cells.append(f"{cpu:,.1f} µs")
            else:
                cells.append(f"{figure(value)} {UNITS[row.compare]}, {cpu:,.1f} µs")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(names) > 2 else ""


def left_out(results: Results) -> str:
    """Who has no figure, and why."""
    return "\n".join(
        f"- {row}, {name}: {' '.join(said.split())[:300]}"
        for row, each in results.items()
        for name, said in each.items()
        if isinstance(said, str)
    )


def ratio(row: Row, ours: list[Sample] | str, theirs: list[Sample] | str) -> float | None:
    """How many times as good *ours* is."""
    left, right = middle(ours, row.compare), middle(theirs, row.compare)
    if not left or not right:
        return None
    return right / left if row.compare.less_is_better else left / right


def asked(row: Row, ours: list[Sample] | str, theirs: list[Sample] | str) -> str:
    """What is asked of the row, and whether it was given."""
    if row.bound is not None:
        value = middle(ours, row.compare)
        met = value is not None and value <= row.bound
        wanted = f"≤ {row.bound:g} {UNITS[row.compare]}"
    else:
        assert row.least is not None
        reached = ratio(row, ours, theirs)
        met = reached is not None and reached >= row.least
        wanted = f"{row.least:.2g}"
    return wanted if met else f"**{wanted}, missed**"


def middle(samples: list[Sample] | str, by: By) -> float | None:
    """The median of the compared figure, or None if there is none to report."""
    return median(samples, by.value)


def median(samples: list[Sample] | str, what: str) -> float | None:
    """The median of one figure, or None."""
    if isinstance(samples, str):
        return None
    values = [value for sample in samples if (value := getattr(sample, what)) is not None]
    return statistics.median(values) if values else None


def others_share(results: Results) -> float:
    """What share of a core other work took, on average."""
    shares = [
        sample.others_share
        for row in results.values()
        for outcome in row.values()
        if not isinstance(outcome, str)
        for sample in outcome
    ]
    return statistics.fmean(shares) if shares else 0.0


def figure(value: float | None) -> str:
    """A figure with as many digits as it can bear."""
    return shown(value, "{:,.0f}" if value is not None and value >= 100 else "{:.2f}")


def shown(value: float | None, how: str) -> str:
    """A figure, or a dash."""
    return "–" if value is None else how.format(value)
