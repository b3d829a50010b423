"""
The whole house beside its peers: ``python bench/load/run.py``.

Sets up an origin, the edge and its peers on this machine, one core for the servers and one for the load, puts the same
rows to each in turn (A B A B), and writes one table: requests per second, their ratio, processor time per request,
latency. What it measures and how to read it is in ``bench/README.md``. Nothing but ``bench/out/`` is left behind.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from generator import Refused, Sample, drive
from rows import FILES, ROWS, Row
from servers import REPOSITORY, SERVERS, NotHere, Origin, Server, output

sys.path.insert(0, str(REPOSITORY))

from edge.cli.shop import catalog

OUT = REPOSITORY / "bench" / "out"


def main() -> int:
    """Read the command line, measure, write; 1 if a row was refused or a server is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument(
        "--servers", default=",".join(SERVERS), help="comma-separated; the first is what others are compared with"
    )
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--seconds", type=float, default=6, help="each run")
    parser.add_argument("--rounds", type=int, default=2, help="how often A B is repeated")
    parser.add_argument(
        "--quick", action="store_true", help="one round of one second: shows that it works, not how fast"
    )
    parser.add_argument("--access-log", action="store_true", help="let every server write its access log to a file")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    given = parser.parse_args()
    if given.quick:
        given.seconds, given.rounds = 1, 1
    rows = [row for row in ROWS if given.rows.lower() in row.name.lower()]
    cores = (given.server_core, given.load_core) if (os.cpu_count() or 1) > 1 else (None, None)
    if cores[0] is None:
        print("One core only: nothing is pinned, and the load takes from the servers.", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="edge-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        make_files(folder)
        make_certificate(folder)
        words = common_words()
        origin = stack.enter_context(Origin(folder, cores[0], words))
        words["ORIGIN_PORT"] = str(origin.port)
        servers = []
        missing = 0
        for each in given.servers.split(","):
            try:
                servers.append(
                    stack.enter_context(
                        SERVERS[each](folder, cores[0], server_words(each, words, folder, given.access_log))
                    )
                )
            except NotHere as why:
                print(f"{each} is left out: {why}", file=sys.stderr)
                missing += 1
        results = measure(rows, servers, origin, rounds=given.rounds, seconds=given.seconds, core=cores[1])
        about = describe(servers, given)
    about["others"] = f"{others(results):.0%} of a core went to other work while this was measured"
    write(results, about, [server.name for server in servers])
    refused = sum(isinstance(outcome, str) for row in results.values() for outcome in row.values())
    return 1 if refused or missing else 0


Results = dict[str, dict[str, list[Sample] | str]]
"""Row → server → its samples, or why they are refused."""


def measure(
    rows: list[Row], servers: list[Server], origin: Server, *, rounds: int, seconds: float, core: int | None
) -> Results:
    """Put every row to every server in turn, round after round, so that a slow minute of the machine hits all."""
    results: Results = {}
    for row in rows:
        outcomes: dict[str, list[Sample] | str] = {server.name: [] for server in servers}
        for round_ in range(rounds):
            for server in servers:
                samples = outcomes[server.name]
                if isinstance(samples, str):
                    continue
                try:
                    sample = drive(row, server, origin, seconds=seconds, core=core)
                except (Refused, NotHere, OSError) as why:
                    outcomes[server.name] = f"refused: {why}"
                    print(f"{row.name:32}{server.name:8}refused: {why}", file=sys.stderr)
                    continue
                samples.append(sample)
                print(
                    f"{row.name:32}{server.name:8}{round_ + 1}/{rounds} {sample.per_s:>10.0f}/s {sample.mib_per_s:>8.0f} MiB/s"
                    f"{sample.cpu_us:>9.1f} µs CPU  p50 {sample.p50_ms:.2f} ms  p99 {sample.p99_ms:.2f} ms",
                    file=sys.stderr,
                )
        results[row.name] = outcomes
    return results


def table(results: Results, names: list[str]) -> str:
    """The results as a markdown table; medians over rounds, the ratio to the first server behind each other one's figure."""
    first, *others = names
    head = ["row", *(f"{name}, /s" for name in names), *(f"{first} : {name}" for name in others)]
    head += [f"{name}, µs CPU" for name in names] + [f"{name}, p50 / p99 ms" for name in names]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for row in ROWS:
        if row.name not in results:
            continue
        outcomes = results[row.name]
        compared = {name: middle(outcomes[name], row.compare) for name in names}
        rates = {name: middle(outcomes[name], "mib_per_s" if row.compare == "mib_per_s" else "per_s") for name in names}
        cells = [row.name + {"mib_per_s": ", MiB", "cpu_us": ", by CPU"}.get(row.compare, "")]
        cells += ["refused" if isinstance(outcomes[name], str) else shown(rates[name], "{:,.0f}") for name in names]
        cells += [ratio(compared[first], compared[name], less_is_better=row.compare == "cpu_us") for name in others]
        cells += [shown(middle(outcomes[name], "cpu_us"), "{:,.1f}") for name in names]
        cells += [
            f"{shown(middle(outcomes[name], 'p50_ms'), '{:.2f}')} / {shown(middle(outcomes[name], 'p99_ms'), '{:.2f}')}"
            for name in names
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def middle(samples: list[Sample] | str, what: str) -> float | None:
    """The median of one figure, or None if there is none to report."""
    if isinstance(samples, str) or not samples:
        return None
    return statistics.median(getattr(sample, what) for sample in samples)


def ratio(ours: float | None, theirs: float | None, *, less_is_better: bool) -> str:
    """How many times as good the first server is."""
    if not ours or not theirs:
        return "–"
    return f"{theirs / ours if less_is_better else ours / theirs:.2f}"


def others(results: Results) -> float:
    """What share of a core other work took, on average."""
    shares = [
        sample.others_share
        for row in results.values()
        for outcome in row.values()
        if not isinstance(outcome, str)
        for sample in outcome
    ]
    return statistics.fmean(shares) if shares else 0.0


def shown(value: float | None, how: str) -> str:
    """A figure, or a dash."""
    return "–" if value is None else how.format(value)


def write(results: Results, about: dict[str, object], names: list[str]) -> None:
    """Print the table; keep it, and everything it was made from, in ``bench/out/``."""
    OUT.mkdir(parents=True, exist_ok=True)
    stamp = str(about["when"]).replace(":", "").replace("-", "")
    rows = {
        row: {name: out if isinstance(out, str) else [asdict(sample) for sample in out] for name, out in each.items()}
        for row, each in results.items()
    }
    (OUT / f"load-{stamp}.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    text = "\n".join(f"{name}: {value}" for name, value in about.items()) + "\n\n" + table(results, names) + "\n"
    (OUT / f"load-{stamp}.md").write_text(text)
    print(text)


def describe(servers: list[Server], given: argparse.Namespace) -> dict[str, object]:
    """What was measured on what: figures without this cannot be compared."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "when": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": f"{model[0] if model else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "servers": "; ".join(type(server).version() for server in servers),
        "tls": output("openssl", "version"),
        "load": "; ".join(
            output(tool, flag).partition(" Copyright")[0] for tool, flag in (("wrk", "-v"), ("ab", "-V"))
        ),
        "runs": f"{given.rounds} × {given.seconds:g} s, access log {'on' if given.access_log else 'off'}",
        "memory_mib": {server.name: round(server.rss_mib(), 1) for server in servers},
    }


def make_files(folder: Path) -> None:
    """Write what the origin serves: noise, and the demo shop's catalog for text."""
    files = folder / "files"
    files.mkdir()
    chooser = random.Random(1)
    for name, length in FILES.items():
        whole = catalog.shelf() + catalog.manual() if name.endswith(".txt") else chooser.randbytes(length)
        (files / name).write_bytes(whole[:length])


def make_certificate(folder: Path) -> None:
    """Make a self-signed P-256 certificate, what most sites have."""
    if shutil.which("openssl") is None:
        raise SystemExit("openssl is needed to make a certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
         "-subj", "/CN=bench.example", "-addext", "subjectAltName=DNS:bench.example",
         "-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")],
        check=True, capture_output=True,
    )  # fmt: skip


def common_words() -> dict[str, str]:
    """What every configuration may name."""
    return {"USER": "user root;" if os.geteuid() == 0 else "", "ACCESS_LOG": "", "MODULES": "", "BROTLI": ""}


def server_words(name: str, words: dict[str, str], folder: Path, access_log: bool) -> dict[str, str]:
    """The words of one server's configuration."""
    if name == "edge":
        log = f'access = "{folder}/edge.access.log"' if access_log else 'access = "off"'
    else:
        log = f"access_log {folder}/nginx.access.log combined buffer=64k flush=1s;" if access_log else "access_log off;"
    return words | {"ACCESS_LOG": log}


if __name__ == "__main__":
    sys.exit(main())
