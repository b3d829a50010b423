"""
What is measured: one row per thing an edge does all day.

A row is a request, how it is repeated, and what a right reply looks like. The same row is put to every server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

KIB = 1 << 10
MIB = 1 << 20


class Load(Enum):
    """How a row is put to a server (``generator.py``)."""

    WRK = "wrk"  # as fast as the server answers; connections are kept, or resumed
    AB = "ab"  # a connection and a full handshake per request
    STEADY = "steady"  # half of what the first server can, at a constant rate
    STORM = "storm"  # the same at a quarter, while another generator asks for what nobody has asked for before
    IDLE = "idle"  # connections that were used once and are held
    WORKERS = "workers"  # two workers on both cores, beside one on one


class By(Enum):
    """The figure servers are compared by, and whether less of it is better."""

    RATE = "per_s"
    BYTES = "mib_per_s"
    CPU = "cpu_us"
    P99 = "p99_ms"
    MEMORY = "kib_each"
    GROWTH = "to_one"

    @property
    def less_is_better(self) -> bool:
        """Whether less is better."""
        return self not in (By.RATE, By.BYTES)


@dataclass(frozen=True, slots=True)
class Row:
    """
    One row of the table.

    Attributes:
        path: on the server; with *unique*, each request adds a number to it.
        status, encoding: what every reply must have.
        length: the body's bytes as sent; None where the server's own coding decides.
        connections: kept open by the load generator.
        threads: of the load generator.
        compare: what servers are compared by. CPU where the load generator, not the server, is the limit: ab spends more
            on a full handshake than the server does.
        needs: what not every server has: a cache, Brotli, workers of its own.
        objects: so many paths, of which each request picks one by Zipf's law; 0: one path.
        least: what the ratio to nginx must reach, as the ratio is shown; None: *bound* is what counts.
        bound: most of the compared figure itself, whatever nginx does.
    """

    name: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    encoding: str | None = None
    length: int | None = None
    unique: bool = False
    load: Load = Load.WRK
    connections: int = 64
    threads: int = 1
    conditional: bool = False
    compare: By = By.RATE
    needs: frozenset[str] = frozenset({"cache"})
    objects: int = 0
    least: float | None = None
    bound: float | None = None


FILES = {"1k.bin": KIB, "4k.bin": 4 * KIB, "16k.bin": 16 * KIB, "64k.bin": 64 * KIB, "10m.bin": 10 * MIB,
         "16k.txt": 16 * KIB}  # fmt: skip
"""What the origin holds; ``.txt`` is text worth compressing, ``.bin`` is noise."""

NOTHING: frozenset[str] = frozenset()
BROTLI = frozenset({"cache", "br"})

ROWS = (
    Row("1 KiB hit", "/keep/1k.bin", length=KIB, least=1.0),
    Row("16 KiB hit", "/keep/16k.bin", length=16 * KIB, least=1.0),
    Row("304 on a hit", "/keep/16k.bin", status=304, conditional=True, length=0, least=1.0),
    Row("16 KiB text, br", "/keep/16k.txt", {"Accept-Encoding": "br"}, encoding="br", needs=BROTLI, least=8),
    Row("16 KiB text, gzip", "/keep/16k.txt", {"Accept-Encoding": "gzip"}, encoding="gzip", least=6),
    Row("10 MiB hit", "/keep/10m.bin", length=10 * MIB, connections=8, compare=By.BYTES, least=1.0),
    Row("20,000 objects of 4 KiB, Zipf", "/many/4k.bin/", length=4 * KIB, objects=20_000, least=0.8),
    Row("1 KiB miss", "/never/1k.bin/", length=KIB, unique=True, needs=NOTHING, least=0.5),
    Row("64 KiB miss", "/never/64k.bin/", length=64 * KIB, unique=True, needs=NOTHING, least=0.7),
    Row("full handshake + hit + close", "/keep/1k.bin", length=KIB, load=Load.AB, connections=32, compare=By.CPU,
        least=0.8),
    Row("resumed handshake + hit + close", "/keep/1k.bin", {"Connection": "close"}, length=KIB, compare=By.CPU,
        least=0.8),
    Row("1 KiB hit at half the peak", "/keep/1k.bin", length=KIB, load=Load.STEADY, compare=By.P99, least=1 / 1.5),
    Row("1 KiB hit beside a storm of cold keys", "/keep/1k.bin", length=KIB, load=Load.STORM, compare=By.P99, bound=5.0),
    Row("idle TLS connection", "/keep/1k.bin", length=KIB, load=Load.IDLE, connections=5000, compare=By.MEMORY,
        needs=NOTHING, least=1 / 1.5),
    Row("1 KiB hit, two workers on two cores", "/keep/1k.bin", length=KIB, load=Load.WORKERS, compare=By.GROWTH,
        needs=frozenset({"cache", "workers"}), bound=1.1),
)  # fmt: skip
