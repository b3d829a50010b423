"""
What is measured: one row per thing an edge does all day.

A row is a request, how it is repeated, and what a right reply looks like. The same row is put to every server.
"""

from __future__ import annotations

from dataclasses import dataclass, field

KIB = 1 << 10
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """
    One row of the table.

    Attributes:
        path: on the server; with *unique*, each request adds a number to it.
        status, encoding: what every reply must have.
        length: the body's bytes as sent; None where the server's own coding decides.
        connections: kept open by the load generator.
        tool: wrk, or ab, which never resumes a TLS session (wrk does).
        compare: the figure of a Sample that servers are compared by. ``cpu_us`` where the load generator, not the
            server, is the limit: ab spends more on a full handshake than the server does.
    """

    name: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    encoding: str | None = None
    length: int | None = None
    unique: bool = False
    tool: str = "wrk"
    connections: int = 64
    conditional: bool = False
    compare: str = "per_s"


FILES = {"1k.bin": KIB, "16k.bin": 16 * KIB, "64k.bin": 64 * KIB, "10m.bin": 10 * MIB, "16k.txt": 16 * KIB}
"""What the origin holds; ``.txt`` is text worth compressing, ``.bin`` is noise."""

ROWS = (
    Row("1 KiB hit", "/keep/1k.bin", length=KIB),
    Row("16 KiB hit", "/keep/16k.bin", length=16 * KIB),
    Row("304 on a hit", "/keep/16k.bin", status=304, conditional=True, length=0),
    Row("16 KiB text, br", "/keep/16k.txt", {"Accept-Encoding": "br"}, encoding="br"),
    Row("16 KiB text, gzip", "/keep/16k.txt", {"Accept-Encoding": "gzip"}, encoding="gzip"),
    Row("10 MiB hit", "/keep/10m.bin", length=10 * MIB, connections=16, compare="mib_per_s"),
    Row("1 KiB miss", "/never/1k.bin/", length=KIB, unique=True),
    Row("64 KiB miss", "/never/64k.bin/", length=64 * KIB, unique=True),
    Row("resumed handshake + hit + close", "/keep/1k.bin", {"Connection": "close"}, length=KIB),
    Row("full handshake + hit + close", "/keep/1k.bin", length=KIB, tool="ab", connections=32, compare="cpu_us"),
)
