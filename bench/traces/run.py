"""
How well the edge chooses what to keep: ``python bench/traces/run.py``, under a minute.

Replays traces through the edge's own eviction and through what it is compared with, and writes two tables to standard output
and, with everything they were made from, to ``bench/out/``. How to read them is in ``bench/README.md``. The ratios hang on seeds
alone, not on the machine.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import peers
import shapes
from ours import WORKERS, Outcome, replay, replay_stored, second_time

from edge.cache import evict

OUT = Path(__file__).resolve().parents[1] / "out"
MIB = 1 << 20
SIZE = 128 * MIB
REQUESTS = 160_000
OBJECTS = 50_000
LOOPED = 9_000
SEED = 3
RATES = (100.0, 500.0, 2_000.0, 10_000.0)


def main() -> int:
    """Replay, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of each trace")
    given = parser.parse_args()
    begun = time.monotonic()
    traces = [
        shapes.zipf_with_scans(given.requests, OBJECTS, SEED),
        shapes.zipf_with_single_uses(given.requests, OBJECTS, SEED),
        shapes.shifts(given.requests, OBJECTS, SEED),
        shapes.loop_in_zipf(given.requests, OBJECTS, SEED, LOOPED),
        shapes.loop(given.requests, LOOPED, SEED),
    ]
    compared = [compare(trace) for trace in traces]
    rates = [at_rate(traces[0], per_s) for per_s in RATES]
    stored = beside_a_real_store(traces[0], given.requests // 4)
    text = "\n".join([*table(compared), "", *rate_table(rates), "", stored_line(stored)])
    print(text)
    took_s = time.monotonic() - begun
    print(f"\n{took_s:.0f} s", file=sys.stderr)
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    OUT.mkdir(exist_ok=True)
    (OUT / f"traces-{stamp}.md").write_text(text + "\n")
    made_from = {"size": SIZE, "requests": given.requests, "objects": OBJECTS, "seed": SEED, "workers": WORKERS}
    (OUT / f"traces-{stamp}.json").write_text(
        json.dumps({"of": made_from, "traces": compared, "rates": rates, "stored": stored, "seconds": took_s}, indent=1)
    )
    return 0


def compare(trace: shapes.Trace) -> dict[str, object]:
    """Return the hit ratio of each on *trace*, in per cent. All have SIZE bytes, but for LRU once more with as many as we fill."""
    ours = replay(trace, SIZE)
    filtered = replay(trace, SIZE, admits=second_time(2 * SIZE // (sum(trace.sizes) // len(trace.sizes))))
    hits = {
        "edge": ours.hits,
        "LRU": peers.lru(trace, SIZE),
        "LRU, our room": peers.lru(trace, int(ours.mean_used)),
        "S3-FIFO": peers.s3_fifo(trace, SIZE),
        "edge, second time": filtered.hits,
        "W-TinyLFU": peers.w_tinylfu(trace, SIZE),
        "Belady": peers.belady(trace, SIZE),
        "bound": peers.bound(trace, SIZE),
    }
    return {
        "trace": trace.name,
        "requests": len(trace.asked),
        "universe_bytes": sum(trace.sizes),
        "filled": round(ours.mean_used / SIZE, 4),
        "refused": ours.refused,
        "evicted": ours.evicted,
        "hit_percent": {name: percent(count, trace) for name, count in hits.items()},
    }


def at_rate(trace: shapes.Trace, per_s: float) -> dict[str, object]:
    """Return what the same trace gives when it comes faster or slower: a second then holds more uses, or fewer."""
    faster = replace(trace, per_s=per_s)
    ours = replay(faster, SIZE)
    turnover_s = evict.usable(SIZE) / (sum(trace.sizes) / len(trace.sizes) * per_s * (1 - ours.hits / len(trace.asked)))
    return {
        "per_s": per_s,
        "edge": percent(ours.hits, trace),
        "same_room": percent(peers.lru(trace, int(ours.mean_used)), trace),
        "filled": round(ours.mean_used / SIZE, 4),
        "refused": ours.refused,
        "turnover_s": round(turnover_s, 1),
    }


def beside_a_real_store(trace: shapes.Trace, requests: int) -> dict[str, object]:
    """Return what a shelf and a real store make of the first *requests* of *trace*, in a quarter of the room."""
    short = shapes.Trace(trace.name, trace.asked[:requests], trace.lengths)
    size = SIZE // 4
    base = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="edge-traces-", dir=base if base.is_dir() else None) as name:
        real = replay_stored(short, size, Path(name))
    shelf = replay(short, size)

    def row(outcome: Outcome) -> dict[str, float]:
        return {
            "hit_percent": percent(outcome.hits, short),
            "refused": outcome.refused,
            "filled": round(outcome.mean_used / size, 4),
        }

    return {"requests": requests, "size": size, "real": row(real), "shelf": row(shelf)}


def percent(hits: int, trace: shapes.Trace) -> float:
    """Return *hits* of the trace's requests in per cent."""
    return round(100 * hits / len(trace.asked), 2)


def table(compared: list[dict[str, object]]) -> list[str]:
    """Write hit ratios down, a line per trace."""
    names = list(compared[0]["hit_percent"])
    lines = [f"| trace | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for row in compared:
        lines.append(
            f"| {row['trace']} | " + " | ".join(f"{ratio:.1f}" for ratio in row["hit_percent"].values()) + " |"
        )
    return lines


def rate_table(rates: list[dict[str, object]]) -> list[str]:
    """Write down how it fares at each rate."""
    lines = [
        "| requests/s | turned over in | filled | edge | LRU, our room | refused |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rates:
        lines.append(
            f"| {row['per_s']:,.0f} | {row['turnover_s']} s | {row['filled']:.0%} | {row['edge']:.1f} | {row['same_room']:.1f} "
            f"| {row['refused']} |"
        )
    return lines


def stored_line(stored: dict[str, dict[str, float]]) -> str:
    """Say how far shelf and store are apart."""
    real, shelf = stored["real"], stored["shelf"]
    return (
        f"{stored['requests']:,} requests through a real store of {stored['size'] >> 20} MiB: {real['hit_percent']:.2f} %, "
        f"filled to {real['filled']:.0%}, {real['refused']} refused; on the shelf {shelf['hit_percent']:.2f} %, {shelf['filled']:.0%}, "
        f"{shelf['refused']}."
    )


if __name__ == "__main__":
    sys.exit(main())
