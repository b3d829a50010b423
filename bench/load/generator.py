"""
The load: one probe that a reply is right, then a generator, then the question whether all replies were like the probe's.

A row with errors, or with bytes per reply that differ from the probe's, is refused, not reported. What is not simply "as fast
as it answers" is in ``special.py``.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rows import By, Load
from servers import machine_s, program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rows import Row
    from servers import Server

HOST = "bench.example"
WRK = Path(__file__).parent / "wrk"
MAY_DIFFER = 0.03
"""Of the bytes per reply: Age and Date grow by a digit, connections are cut at the end of a run."""

SKEW = 0.9
"""Zipf's exponent: what is measured at caches of the web lies between 0.7 and 1."""

GRACE_S = 30.0
"""What a generator may take beyond its time before it is killed and its row refused."""


class Refused(Exception):
    """What was measured is not worth reporting; the message says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One run of one row on one server.

    Attributes:
        cpu_us: of the server's process tree, per request.
        cpu_share: of one core, of the server's process tree.
        others_share: of one core, what neither server nor origin nor load used: with much of it, only *cpu_us* can be trusted.
        p999_ms: None where the generator does not tell.
        memory_mib: of the process tree, without pages of files.
        kib_each: (held connections) memory for one of them.
        to_one: (two workers) CPU per request beside what it is with one.
        late_us: (constant rate) how late the generator itself was, on average.
    """

    per_s: float
    mib_per_s: float
    cpu_us: float
    cpu_share: float
    others_share: float
    p50_ms: float
    p99_ms: float
    requests: int
    p999_ms: float | None = None
    memory_mib: float | None = None
    kib_each: float | None = None
    to_one: float | None = None
    late_us: float | None = None


def headers_for(row: Row, server: Server) -> dict[str, str]:
    """The request's headers; a conditional row first asks for the ETag."""
    headers = dict(row.headers)
    if row.conditional:
        _, _, fields = ask(row, server, headers)
        etag = fields.get("ETag")
        if etag is None:
            raise Refused("no ETag to ask with")
        headers["If-None-Match"] = etag
    return headers


def ask(row: Row, server: Server, headers: dict[str, str]) -> tuple[int, bytes, http.client.HTTPMessage]:
    """Ask once, as any client would."""
    context = ssl.create_default_context(cafile=str(server.folder / "fullchain.pem"))
    context.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=20)
    path = f"{row.path}{time.monotonic_ns() if row.unique else '1' if row.objects else ''}"
    connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": HOST, **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply.status, body, reply.msg


def probe(row: Row, server: Server, headers: dict[str, str]) -> int:
    """
    Ask until the reply is what the row wants.

    Returns:
        The bytes of such a reply, head and body.
    """
    wrong = ""
    for _ in range(20):
        status, body, fields = ask(row, server, headers)
        wrong = wrong_with(row, status, body, fields)
        if not wrong:
            head = sum(len(name) + len(value) + 4 for name, value in fields.items()) + len("HTTP/1.1 200 OK\r\n\r\n")
            return head + len(body)
        time.sleep(0.1)
    raise Refused(wrong)


def wrong_with(row: Row, status: int, body: bytes, fields: http.client.HTTPMessage) -> str:
    """What is not as the row wants it, or nothing."""
    if status != row.status:
        return f"status {status}, not {row.status}"
    if fields.get("Content-Encoding") != row.encoding:
        return f"Content-Encoding {fields.get('Content-Encoding')}, not {row.encoding}"
    if row.length is not None and len(body) != row.length:
        return f"{len(body)} bytes, not {row.length}"
    said = f"{fields.get('Cache-Status', '')} {fields.get('X-Cache-Status', '')}".lower()
    if "cache" in row.needs and "hit" not in said:
        return f"the cache said {said.strip() or 'nothing'}"
    if row.unique and "hit" in said:
        return f"the cache said {said.strip() or 'nothing'}"
    return ""


def drive(row: Row, server: Server, origin: Server, *, seconds: float, cores: Sequence[int] | None) -> Sample:
    """
    Warm up, load the server with *row* for *seconds*, and account.

    Raises:
        Refused: a reply was wrong.
    """
    headers = headers_for(row, server)
    reply_bytes = probe(row, server, headers)
    if row.objects and row.name not in server.primed:
        prime(row, server, headers, cores)
        server.primed.add(row.name)
    load = ab if row.load is Load.AB else wrk
    load(row, server, headers, seconds=max(3 if row.objects else 1, seconds / 6), cores=cores)
    before = used(server, origin)
    said = load(row, server, headers, seconds=seconds, cores=cores)
    sample = account(said, server, origin, before)
    each = said["bytes"] / said["requests"]
    is_exact = load is wrk and row.compare is not By.BYTES
    if is_exact and abs(each - reply_bytes) > max(MAY_DIFFER * reply_bytes, 64):
        raise Refused(f"{each:.0f} bytes per reply under load, {reply_bytes} alone")
    return sample


Used = tuple[float, float, float, float]


def account(said: dict, server: Server, origin: Server, before: Used, **more: float) -> Sample:
    """Make a sample of what a generator *said* and what has been used since *before*."""
    cpu_s, origin_s, load_s, machine = (
        after - start for after, start in zip(used(server, origin), before, strict=True)
    )
    if any(said["errors"].values()):
        raise Refused(f"errors: {said['errors']}")
    if not said["requests"]:
        raise Refused("no request was answered")
    took_s = said["duration_us"] / 1e6
    return Sample(
        per_s=said["requests"] / took_s,
        mib_per_s=said["bytes"] / took_s / (1 << 20),
        cpu_us=cpu_s / (said["requests"] + more.pop("beside", 0)) * 1e6,
        cpu_share=cpu_s / took_s,
        others_share=max(0.0, machine - cpu_s - origin_s - load_s) / took_s,
        p50_ms=said["p50_us"] / 1000,
        p99_ms=said["p99_us"] / 1000,
        p999_ms=said["p999_us"] / 1000 if "p999_us" in said else None,
        requests=said["requests"],
        memory_mib=server.rss_mib(),
        **more,
    )


def prime(row: Row, server: Server, headers: dict[str, str], cores: Sequence[int] | None) -> None:
    """Ask for every object of *row* once."""
    asked = 0
    while asked < row.objects:
        more = {"BENCH_FROM": str(asked), "BENCH_NUMBER": str(row.objects)}
        command = wrk_command(row, server, headers, seconds=2, cores=cores, script="prime")
        asked += max(1, said_by(command, more)["requests"] - row.connections)  # some were cut at the end


def used(server: Server, origin: Server) -> Used:
    """Processor seconds used so far by the server, the origin, our ended children (the load), and the whole machine."""
    times = os.times()
    return server.cpu_s(), origin.cpu_s(), times.children_user + times.children_system, machine_s()


def wrk(row: Row, server: Server, headers: dict[str, str], *, seconds: float, cores: Sequence[int] | None) -> dict:
    """Run wrk once and return what ``wrk/report.lua`` says."""
    script = "zipf" if row.objects else "unique" if row.unique else "same"
    command = wrk_command(row, server, headers, seconds=seconds, cores=cores, script=script, threads=row.threads)
    return said_by(command, {"BENCH_NUMBER": str(row.objects), "BENCH_SKEW": str(SKEW)})


def wrk_command(
    row: Row,
    server: Server,
    headers: dict[str, str],
    *,
    seconds: float,
    cores: Sequence[int] | None,
    script: str,
    threads: int = 1,
) -> list[str]:
    """The command line of wrk."""
    command = [*pinned("wrk", cores), f"-t{threads}", f"-c{row.connections}", f"-d{max(1, round(seconds))}s"]
    for name, value in {"Host": HOST, **headers}.items():
        command += ["-H", f"{name}: {value}"]
    url = f"https://127.0.0.1:{server.port}{row.path}"
    return [*command, "--timeout", "10s", "-s", str(WRK / f"{script}.lua"), url]


def wrk_environment(more: dict[str, str]) -> dict[str, str]:
    """What the scripts in ``wrk/`` read."""
    return os.environ | {"BENCH_WRK": str(WRK), "BENCH_RUN": str(time.monotonic_ns()), **more}


def said_by(command: list[str], more: dict[str, str]) -> dict:
    """Run wrk and read its report."""
    seconds = next(float(word[2:-1]) for word in command if re.fullmatch(r"-d\d+s", word))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=wrk_environment(more), check=False, timeout=seconds + GRACE_S
        )
    except subprocess.TimeoutExpired as cause:
        raise Refused("wrk did not end") from cause
    return report(done.stdout, done.stderr)


def report(out: str, errors: str = "") -> dict:
    """Find the report in what wrk wrote."""
    for line in out.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    raise Refused(f"wrk said: {out}{errors}")


def ab(row: Row, server: Server, headers: dict[str, str], *, seconds: float, cores: Sequence[int] | None) -> dict:
    """Run ab once (HTTP/1.0, a connection and a full handshake per request) and return the same figures as :func:`wrk`."""
    limit = max(1, round(seconds))
    command = [*pinned("ab", cores), "-q", f"-c{row.connections}", f"-t{limit}", "-n10000000", "-s10"]
    for name, value in {"Host": HOST, **headers}.items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"https://127.0.0.1:{server.port}{row.path}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit + GRACE_S)
    except subprocess.TimeoutExpired as cause:
        raise Refused("ab did not end") from cause

    def figure(pattern: str, default: str | None = None) -> float:
        found = re.search(pattern, done.stdout, re.MULTILINE)
        if found is None and default is None:
            raise Refused(f"ab said: {done.stdout}{done.stderr}")
        return float(found[1] if found else default)  # type: ignore[arg-type]

    return {
        "requests": int(figure(r"^Complete requests:\s+(\d+)")),
        "duration_us": figure(r"^Time taken for tests:\s+([\d.]+)") * 1e6,
        "bytes": figure(r"^Total transferred:\s+(\d+)"),
        "p50_us": figure(r"^\s+50%\s+(\d+)") * 1000,
        "p99_us": figure(r"^\s+99%\s+(\d+)") * 1000,
        "errors": {
            "failed": int(figure(r"^Failed requests:\s+(\d+)")),
            "write": int(figure(r"^Write errors:\s+(\d+)", "0")),
            "status": int(figure(r"^Non-2xx responses:\s+(\d+)", "0")),
        },
    }


def pinned(name: str, cores: Sequence[int] | None) -> list[str]:
    """The command to run program *name* on *cores*."""
    found = program(name, "apache2-utils" if name == "ab" else name)
    return [*(["taskset", "-c", ",".join(map(str, cores))] if cores is not None else []), found]
