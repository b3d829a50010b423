"""
Rows that are more than "as fast as it answers": a constant rate, a storm beside it, held connections, two workers.

Rules
    - The rate is the same for all: a share of what the *first* server can in this very run. A peer that cannot keep up with
      it shows it in its latency.
    - Where memory or the number of workers is asked for, a fresh server is started: one that has worked already has memory to
      spare, and its next thousand connections look free.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from generator import (
    GRACE_S,
    Refused,
    Sample,
    account,
    drive,
    headers_for,
    probe,
    report,
    said_by,
    used,
    wrk_command,
    wrk_environment,
)
from rows import By, Load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rows import Row
    from servers import Server

HELD = Path(__file__).parent / "held.py"
STORM_CONNECTIONS = 32
SETTLE_S = 1.0


def steady(
    row: Row, server: Server, origin: Server, *, seconds: float, cores: Sequence[int] | None, per_s: float
) -> Sample:
    """Ask at a constant rate; latency is counted from when a request should have been sent (``wrk/steady.lua``)."""
    headers = headers_for(row, server)
    probe(row, server, headers)
    before = used(server, origin)
    said = at_rate(row, server, headers, seconds=seconds, cores=cores, per_s=per_s)
    return account(said, server, origin, before, late_us=said["late_us"])


def storm(
    row: Row, server: Server, origin: Server, *, seconds: float, cores: Sequence[int] | None, per_s: float
) -> Sample:
    """Ask for hits at a constant rate while others ask for storable keys that nobody has asked for, as fast as they are answered."""
    headers = headers_for(row, server)
    probe(row, server, headers)
    cold = replace(row, path="/many/1k.bin/", connections=STORM_CONNECTIONS)
    command = ["nice", "-n", "5", *wrk_command(cold, server, {}, seconds=seconds + 1, cores=cores, script="unique")]
    before = used(server, origin)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=wrk_environment({})) as other:
        try:
            time.sleep(0.5)
            said = at_rate(row, server, headers, seconds=seconds, cores=cores, per_s=per_s)
            out, _ = other.communicate(timeout=GRACE_S)
        finally:
            other.kill()
    misses = report(out)
    if misses["requests"] < per_s / 100:
        raise Refused(f"a storm of {misses['requests']} requests")
    return account(said, server, origin, before, late_us=said["late_us"], beside=misses["requests"])


def at_rate(
    row: Row, server: Server, headers: dict[str, str], *, seconds: float, cores: Sequence[int] | None, per_s: float
) -> dict:
    """Run ``wrk/steady.lua``, with a thread for each connection."""
    number = row.connections
    command = wrk_command(row, server, headers, seconds=seconds, cores=cores, script="steady", threads=number)
    return said_by(command, {"BENCH_INTERVAL_US": f"{number / per_s * 1e6:.3f}"})


def idle(row: Row, make: Callable[[], Server], origin: Server) -> Sample:
    """Open ``row.connections`` connections on a fresh server, use each once, and weigh what it keeps for them."""
    with make() as server:
        for _ in range(3):
            hold(row, server, 1)  # whatever the first connection makes it load is not a connection's
        time.sleep(SETTLE_S)
        before_mib, before, start = server.rss_mib(), used(server, origin), time.monotonic()
        with holding(row, server, row.connections):
            took_s = time.monotonic() - start
            time.sleep(SETTLE_S)
            after_mib = server.rss_mib()
            said = {
                "requests": row.connections,
                "duration_us": took_s * 1e6,
                "bytes": 0,
                "p50_us": 0,
                "p99_us": 0,
                "errors": {},
            }
            return account(said, server, origin, before, kib_each=(after_mib - before_mib) * 1024 / row.connections)


class holding:
    """A block during which so many connections are held open and idle."""

    def __init__(self, row: Row, server: Server, count: int) -> None:
        self.command = [sys.executable, str(HELD), str(server.port), str(count), row.path]

    def __enter__(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "held\n":
            _, why = self.process.communicate(timeout=GRACE_S)
            raise Refused(f"connections could not be held: {why.strip().splitlines()[-1:]}")

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=GRACE_S)


def hold(row: Row, server: Server, count: int) -> None:
    """Hold connections for a moment."""
    with holding(row, server, count):
        pass


def workers(
    row: Row,
    make: Callable[[int], Server],
    origin: Server,
    *,
    seconds: float,
    one_core: Sequence[int] | None,
    all_cores: Sequence[int] | None,
) -> Sample:
    """
    Put a load to one worker on one core, and twice that to two on two.

    A request must cost two workers what it costs one: what they share would show as more. So all else is the same: the load
    runs on the workers' own cores in both (a core that is a worker's alone has its caches to itself, too), each
    worker has half of the row's connections, and both servers are fresh.
    """
    plain = replace(row, load=Load.WRK, compare=By.RATE)
    with make(1) as one:
        each = replace(plain, connections=row.connections // 2)
        alone = drive(each, one, origin, seconds=seconds, cores=one_core)
    with make(2) as two:
        both = drive(replace(plain, threads=2), two, origin, seconds=seconds, cores=all_cores)
    return replace(both, to_one=both.cpu_us / alone.cpu_us)
