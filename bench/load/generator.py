"""
The load: one probe that a reply is right, then wrk, then the question whether all replies were like the probe's.

A row with errors, or with bytes per reply that differ from the probe's, is refused, not reported.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from servers import NotHere, Server, machine_s

if TYPE_CHECKING:
    from rows import Row

HOST = "bench.example"
WRK = Path(__file__).parent / "wrk"
MAY_DIFFER = 0.03
"""Of the bytes per reply: Age and Date grow by a digit, connections are cut at the end of a run."""


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
    """

    per_s: float
    mib_per_s: float
    cpu_us: float
    cpu_share: float
    others_share: float
    p50_ms: float
    p99_ms: float
    requests: int


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
    path = f"{row.path}{time.monotonic_ns()}" if row.unique else row.path
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
    if ("hit" not in said) != row.unique:
        return f"the cache said {said.strip() or 'nothing'}"
    return ""


def drive(row: Row, server: Server, origin: Server, *, seconds: float, core: int | None) -> Sample:
    """
    Warm up, load the server with *row* for *seconds*, and account.

    Raises:
        Refused: a reply was wrong.
    """
    headers = headers_for(row, server)
    reply_bytes = probe(row, server, headers)
    load = ab if row.tool == "ab" else wrk
    load(row, server, headers, seconds=max(1, seconds / 6), core=core)
    before = used(server, origin)
    said = load(row, server, headers, seconds=seconds, core=core)
    cpu_s, origin_s, load_s, machine = (
        after - start for after, start in zip(used(server, origin), before, strict=True)
    )
    if any(said["errors"].values()):
        raise Refused(f"errors: {said['errors']}")
    if not said["requests"]:
        raise Refused("no request was answered")
    each = said["bytes"] / said["requests"]
    if row.tool == "wrk" and row.compare == "per_s" and abs(each - reply_bytes) > max(MAY_DIFFER * reply_bytes, 64):
        raise Refused(f"{each:.0f} bytes per reply under load, {reply_bytes} alone")
    took_s = said["duration_us"] / 1e6
    return Sample(
        per_s=said["requests"] / took_s,
        mib_per_s=said["bytes"] / took_s / (1 << 20),
        cpu_us=cpu_s / said["requests"] * 1e6,
        cpu_share=cpu_s / took_s,
        others_share=max(0.0, machine - cpu_s - origin_s - load_s) / took_s,
        p50_ms=said["p50_us"] / 1000,
        p99_ms=said["p99_us"] / 1000,
        requests=said["requests"],
    )


def used(server: Server, origin: Server) -> tuple[float, float, float, float]:
    """Processor seconds used so far by the server, the origin, our ended children (the load), and the whole machine."""
    times = os.times()
    return server.cpu_s(), origin.cpu_s(), times.children_user + times.children_system, machine_s()


def wrk(row: Row, server: Server, headers: dict[str, str], *, seconds: float, core: int | None) -> dict:
    """Run wrk once and return what ``wrk/report.lua`` says."""
    command = [*pinned("wrk", core), "-t1", f"-c{row.connections}", f"-d{round(seconds)}s", "--timeout", "10s"]
    for name, value in {"Host": HOST, **headers}.items():
        command += ["-H", f"{name}: {value}"]
    command += [
        "-s",
        str(WRK / ("unique.lua" if row.unique else "same.lua")),
        f"https://127.0.0.1:{server.port}{row.path}",
    ]
    environment = os.environ | {"BENCH_WRK": str(WRK), "BENCH_RUN": str(time.monotonic_ns())}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    raise Refused(f"wrk said: {done.stdout}{done.stderr}")


def ab(row: Row, server: Server, headers: dict[str, str], *, seconds: float, core: int | None) -> dict:
    """Run ab once (HTTP/1.0, a connection and a full handshake per request) and return the same figures as :func:`wrk`."""
    command = [*pinned("ab", core), "-q", f"-c{row.connections}", f"-t{round(seconds)}", "-n10000000", "-s10"]
    for name, value in {"Host": HOST, **headers}.items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"https://127.0.0.1:{server.port}{row.path}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)

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


def pinned(program: str, core: int | None) -> list[str]:
    """The command to run *program* on *core*."""
    found = shutil.which(program)
    if found is None:
        raise NotHere(f"{program} (Debian: {'apache2-utils' if program == 'ab' else program})")
    return [*(["taskset", "-c", str(core)] if core is not None else []), found]
