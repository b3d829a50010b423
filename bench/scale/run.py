"""
How cost grows with certificates, stored objects and connections: ``python bench/scale/run.py [certificates] [objects] [connections]``.

Each part prints a table; ``bench/SCALE.md`` has one run of it and what follows. Sizes can be cut with ``--most``, for a machine
that is small or a run that is short: 10,000 certificates, 1,000,000 objects and 50,000 connections take six minutes on two cores.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "bench" / "load"))
sys.path.insert(0, str(REPOSITORY))

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from servers import ticks, tree  # noqa: E402

from edge.cache.ask import ask_of  # noqa: E402
from edge.cache.copy import IDENTITY, Copy  # noqa: E402
from edge.cache.keeper import Keeper  # noqa: E402
from edge.cache.store import Store  # noqa: E402
from edge.cache.storing import may_store  # noqa: E402
from edge.message.head import Framing, ReplyHead, RequestHead  # noqa: E402

HELD = REPOSITORY / "bench" / "load" / "held.py"
PER_HOLDER = 16_000
"""Connections of one holding process, and of one worker: below a hard limit of 20,000 descriptors."""

CONFIG = """
[server]
workers = {workers}
drain = "1s"
[[listener]]
address = "127.0.0.1:{port}"
tls = true
[[certificate]]
{certificate}
[cache]
path = "cache"
size = "64 MiB"
[origin.none]
servers = ["http://127.0.0.1:9"]
[[route]]
path = "/"
origin = "none"
[limits]
connections = {connections}
[timeouts]
idle = "600s"
[log]
access = "off"
"""


def main() -> int:
    """Run the parts that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--most", type=int, default=10**9, help="nothing larger than this")
    given = parser.parse_args()
    for part in given.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="edge-scale-", ignore_cleanup_errors=True) as folder:
            print(f"\n## {part}\n", flush=True)
            PARTS[part](Path(folder), given.most)
    return 0


# -- certificates -------------------------------------------------------------------------------------------------


def certificates(folder: Path, most: int) -> None:
    """Start an edge with ever more certificates: how long until it answers, what a process takes, what a handshake costs."""
    print("| certificates | start, s CPU | all processes, MiB | KiB each | handshake, 404, close, µs CPU "
          "| SIGHUP, nothing changed, s CPU |")  # fmt: skip
    print("|--:|--:|--:|--:|--:|--:|", flush=True)
    made = 0
    first_mib = 0.0
    for number in (1, 100, 1_000, 10_000):
        if number > most:
            return
        for at in range(made, number):
            issue(folder / "tenants" / f"t{at}", f"t{at}.example")
        made = number
        port = quiet_port()
        with Running(folder, port, 'directory = "tenants"', workers=1) as edge:
            started_s = sum(ticks(pid) for pid in tree(edge.process.pid)) / 100
            mib = edge.mib()
            first_mib = first_mib or mib
            cost = edge.cost_of(lambda: shake(port, f"t{number - 1}.example"), 300)
            used = ticks(edge.process.pid)
            edge.process.send_signal(signal.SIGHUP)
            edge.until_quiet()
            reload_s = (ticks(edge.process.pid) - used) / 100
        each = (mib - first_mib) * 1024 / (number - 1) if number > 1 else 0
        print(f"| {number:,} | {started_s:.2f} | {mib:.0f} | {each:.1f} | {cost:.0f} | {reload_s:.2f} |", flush=True)


def issue(folder: Path, name: str) -> None:
    """Make a self-signed P-256 certificate."""
    folder.mkdir(parents=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = folder / "privkey.pem"
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    secret.chmod(0o600)


# -- objects ------------------------------------------------------------------------------------------------------


def objects(folder: Path, most: int) -> None:
    """Fill a store, look things up at random, and let the keeper make room in it."""
    print("| objects of 1 KiB | put, µs | file in use, MiB | bytes each | look up, µs | read, µs | open, ms | count all, ms "
          "| keeper's look, ms | evict, µs a copy |")  # fmt: skip
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    body = os.urandom(1024)
    for number in (10_000, 100_000, 1_000_000):
        if number > most:
            return
        path = folder / str(number)
        path.mkdir()
        now = time.time()
        store = Store.open(path, 8192 * number + (64 << 20))
        drafts = (draft(at, now) for at in range(number))
        putting = 0.0
        keys = []
        for each in drafts:
            begun = time.perf_counter()
            kept = store.put(each, body)
            putting += time.perf_counter() - begun
            assert isinstance(kept, Copy), kept
            keys.append(kept.key)
        used = store.used()
        step = 7919
        some = [keys[at * step % number] for at in range(20_000)]
        begun = time.perf_counter()
        found = [store.copies(key)[0] for key in some]
        looking = (time.perf_counter() - begun) / len(some)
        begun = time.perf_counter()
        for copy in found:
            store.read_whole(copy.bodies[IDENTITY])
        reading = (time.perf_counter() - begun) / len(some)
        begun = time.perf_counter()
        store.counts()
        counting = time.perf_counter() - begun
        store.close()
        begun = time.perf_counter()
        store = Store.open(path, 8192 * number + (64 << 20))
        opening = time.perf_counter() - begun
        keeper = Keeper(store, lambda _: 0)
        begun = time.perf_counter()
        for _ in keeper.work():
            pass
        keeping = time.perf_counter() - begun
        store.close()
        store = Store.open(path, int(used / 0.995))  # too full: it must let some go
        keeper = Keeper(store, lambda _: 0)
        begun = time.perf_counter()
        for _ in keeper.work():
            pass
        evicting = (time.perf_counter() - begun) / max(1, keeper.evicted)
        store.close()
        shutil.rmtree(path)
        print(
            f"| {number:,} | {putting / number * 1e6:.1f} | {used >> 20:,} | {used / number:,.0f} | {looking * 1e6:.1f} "
            f"| {reading * 1e6:.1f} | {opening * 1e3:.1f} | {counting * 1e3:.1f} | {keeping * 1e3:.1f} "
            f"| {evicting * 1e6:.1f} ({keeper.evicted:,}) |",
            flush=True,
        )


def draft(number: int, at: float) -> Copy:
    """A copy to store."""
    asked = ask_of(RequestHead(b"GET", b"https", b"shop.example", b"/%d" % number, []), (b"br",))
    fields = [
        (b"content-type", b"image/png"),
        (b"cache-control", b"max-age=86400"),
        (b"etag", b'"%x"' % number),
    ]
    reply = ReplyHead(200, fields, framing=Framing.LENGTH, length=1024)
    copy = may_store(asked, reply, request_wall=at, response_wall=at)
    assert isinstance(copy, Copy)
    return copy


# -- connections --------------------------------------------------------------------------------------------------


def connections(folder: Path, most: int) -> None:
    """Hold ever more idle connections, and see what they take and what one request beside them costs."""
    print("| idle TLS connections | workers | opened, /s | edge, KiB each | edge at rest, % of a core "
          "| a request beside them, µs CPU |")  # fmt: skip
    print("|--:|--:|--:|--:|--:|--:|", flush=True)
    issue(folder / "one", "bench.example")
    for number in (1_000, 10_000, 50_000):
        if number > most:
            return
        workers = -(-number // PER_HOLDER)
        port = quiet_port()
        certificate = 'chain = "one/fullchain.pem"\nkey = "one/privkey.pem"'
        with Running(folder, port, certificate, workers=workers) as edge:
            shake(port, "bench.example")
            before = edge.mib()
            begun = time.monotonic()
            holders = []
            try:
                for at in range(0, number, PER_HOLDER):
                    command = [sys.executable, str(HELD), str(port), str(min(PER_HOLDER, number - at)), "/", str(at)]
                    holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
                for holder in holders:
                    assert holder.stdout is not None
                    if holder.stdout.readline() != "held\n":
                        print(f"| {number:,} | could not be opened: see above |")
                        return
                opened = number / (time.monotonic() - begun)
                time.sleep(2)
                each = (edge.mib() - before) * 1024 / number
                resting = edge.cost_of(lambda: time.sleep(5), 1) / 5e6
                cost = edge.cost_of(lambda: shake(port, "bench.example"), 300)
            finally:
                for holder in holders:
                    holder.communicate()
        print(
            f"| {number:,} | {workers} | {opened:,.0f} | {each:.1f} | {resting:.2%} | {cost:.0f} |",
            flush=True,
        )


# -- an edge ------------------------------------------------------------------------------------------------------


class Running:
    """An edge that runs within the block."""

    def __init__(self, folder: Path, port: int, certificate: str, *, workers: int) -> None:
        self.port = port
        self.folder = folder
        text = CONFIG.format(port=port, certificate=certificate, workers=workers, connections=PER_HOLDER + 3000)
        (folder / "edge.toml").write_text(text)

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "edge", "run", "-c", str(self.folder / "edge.toml")]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        with (self.folder / "edge.out").open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        until = time.monotonic() + 300
        while True:
            try:
                shake(self.port, "bench.example")
            except OSError as why:
                if self.process.poll() is not None or time.monotonic() > until:
                    self.__exit__()
                    raise RuntimeError((self.folder / "edge.out").read_text()) from why
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def mib(self) -> float:
        """Memory of all its processes, shared pages once."""
        total = 0
        for pid in tree(self.process.pid):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        return total / 1024

    def cost_of(self, act, times: int) -> float:
        """Microseconds of processor time that the edge takes for each *act*."""
        before = sum(ticks(pid) for pid in tree(self.process.pid))
        for _ in range(times):
            act()
        return (sum(ticks(pid) for pid in tree(self.process.pid)) - before) * 1e4 / times

    def until_quiet(self) -> None:
        """Wait until the master has done what it was told."""
        before = -1
        while (now := ticks(self.process.pid)) != before:
            before = now
            time.sleep(0.5)


def quiet_port() -> int:
    """A port that the kernel gives nobody: who asks an ephemeral one again and again may in the end be connected to himself."""
    return random.randint(15_000, 30_000)


def shake(port: int, name: str) -> None:
    """Connect, shake hands, ask once, and leave."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        context.wrap_socket(plain, server_hostname=name) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: bench.example\r\nConnection: close\r\n\r\n")
        while sock.recv(65536):
            pass


PARTS = {"certificates": certificates, "objects": objects, "connections": connections}

if __name__ == "__main__":
    sys.exit(main())
