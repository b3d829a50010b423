"""
``edge demo``: an edge on loopback, a shop behind it, and a tour of what to try.

Everything is made in a fresh folder that goes when the demo ends: certificates, configuration, cache, logs. The shop's
four processes and the edge itself are children, started as anyone would start them; what the demo adds is only that
it waits for them, starts a killed shop process again, and stops all of them in order. Knows nothing of how the edge works.

``edge demo --check`` walks the tour itself, line by line through ``sh``, and exits 0 if every line showed what it should.
"""

# ruff: noqa: S603 - what is run here is ourselves and the lines of our own tour
from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from rich.console import Console

from edge.cli.tour import HOST, Place, Stop, tour
from edge.clock import SYSTEM, Clock
from edge.tls.selfsigned import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READY_S: Final = 20.0
"""How long the edge may take to be ready: generous, a loaded machine imports slowly."""

RESTART_S: Final = 10.0
"""How long a shop process stays dead, so that one can watch the edge do without it."""

STOP_S: Final = 10.0
SETTLE_TRIES: Final = 6
SETTLE_PAUSE_S: Final = 0.5
LINE_S: Final = 60.0

NAMES: Final = (HOST, "localhost", "127.0.0.1")
"""What the demo's certificate is for: the tour's name, and what a browser on this machine can reach."""

VALID_DAYS: Final = 30
RENEWED_DAYS: Final = VALID_DAYS + 365
"""The renewed certificate ends a year after the first, so that its expiry date shows which one is served."""


class Broken(Exception):  # noqa: N818 - said to the user, who is not told of errors of ours
    """The demo cannot go on; the message says why, in full."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens."""

    https: int
    http: int
    admin: int


def run(*, check: bool = False, console: Console | None = None, clock: Clock = SYSTEM) -> int:
    """
    Run the demo until Ctrl-C, or with *check* until its tour has been walked.

    Returns:
        The exit code: 0, or 1 if something did not start, did not stay, or did not show what it should.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    stopped = threading.Event()
    with _stopping_on_signals(stopped), tempfile.TemporaryDirectory(prefix="edge-demo-") as folder:
        try:
            with Demo(Path(folder), clock) as demo:
                if check:
                    return _walk(demo.tour(), demo, console, stopped)
                _print_tour(demo, console)
                demo.watch(stopped, console.print)
                console.print("\nStopping.")
        except Broken as broken:
            console.print(f"edge demo: {broken}", style="red", markup=False)
            return 1
    return 0


class Demo:
    """
    The shop and the edge in front of it, running while the context is open.

    Args:
        folder: empty; everything is made in it.
        clock: for waiting.

    Raises:
        Broken: on entry, when something does not start.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock
        self._pause = threading.Event()
        self._stack = contextlib.ExitStack()
        self.ports = Ports(*_free_ports(8443, 8080, 9180))
        self.ca = folder / "ca.pem"
        orders = ("--orders", str(folder / "orders.jsonl"))
        self.shop = [
            Origin("catalog", ("catalog",), folder),
            Origin("login", ("login",), folder),
            Origin("orders-1", ("orders", "--name", "orders-1", *orders), folder),
            Origin("orders-2", ("orders", "--name", "orders-2", *orders), folder),
        ]
        self.edge: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        with self._stack:
            self._make_certificates()
            for origin in self.shop:
                self._stack.callback(origin.stop)
                origin.start()
            (self.folder / "edge.toml").write_text(configuration(self.ports, self.shop), "utf-8")
            log = self._stack.enter_context((self.folder / "edge.log").open("ab"))
            self.edge = subprocess.Popen(  # a group of its own: Ctrl-C is for us, who then stop it in order
                [sys.executable, "-m", "edge", "run", "-c", str(self.folder / "edge.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
            self._stack.callback(self._stop_edge)
            self._await_ready()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def tour(self) -> list[Stop]:
        """Return the stops for what runs now; process ids change when a shop process is started again."""
        first, second = (origin.pid for origin in self.shop if origin.name.startswith("orders"))
        return tour(
            Place(
                folder=self.folder,
                ca=self.ca,
                https_port=self.ports.https,
                http_port=self.ports.http,
                admin_port=self.ports.admin,
                master_pid=self.edge.pid,
                orders_pids=(first, second),
                renewed_year=(datetime.fromtimestamp(self._clock.wall(), UTC) + timedelta(days=RENEWED_DAYS)).year,
            )
        )

    def watch(self, stopped: threading.Event, say: Callable[[str], object]) -> None:
        """
        Wait for *stopped*; meanwhile start shop processes again that ended.

        Raises:
            Broken: the edge itself ended.
        """
        due: dict[str, float] = {}
        while not stopped.wait(0.2):
            if (code := self.edge.poll()) is not None:
                raise Broken(f"the edge ended with {code}\n{self.last_words()}")
            now = self._clock.mono()
            for origin in self.shop:
                if origin.is_running:
                    continue
                if origin.name not in due:
                    due[origin.name] = now + RESTART_S
                    say(f"{origin.name} ended; it is started again in {RESTART_S:.0f} seconds. The edge carries on.")
                elif now >= due[origin.name]:
                    del due[origin.name]
                    origin.start()
                    say(f"{origin.name} is back (process {origin.pid}).")

    def last_words(self, lines: int = 20) -> str:
        """Return the end of the edge's own log."""
        text = (self.folder / "edge.log").read_text("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def _make_certificates(self) -> None:
        authority = Authority("Edge demo", days=RENEWED_DAYS, clock=self._clock)
        self.ca.write_bytes(authority.pem)
        for name, days in (("certs", VALID_DAYS), ("renewed", RENEWED_DAYS)):
            authority.issue(NAMES, days=days).write(self.folder / name)

    def _await_ready(self) -> None:
        until = self._clock.mono() + READY_S
        while self._clock.mono() < until:
            if (code := self.edge.poll()) is not None:
                raise Broken(f"the edge did not start; it ended with {code}\n{self.last_words()}")
            if _is_well(f"http://127.0.0.1:{self.ports.admin}/readyz"):
                return
            self._pause.wait(0.05)
        raise Broken(f"the edge was not ready after {READY_S:.0f} seconds\n{self.last_words()}")

    def _stop_edge(self) -> None:
        _end(self.edge, signal.SIGTERM)


class Origin:
    """One process of the shop. Its port is chosen at the first start and kept, as the edge's configuration names it."""

    def __init__(self, name: str, arguments: tuple[str, ...], folder: Path) -> None:
        self.name = name
        self.port = 0
        self._arguments = arguments
        self._log = folder / "shop.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Origin {self.name} port={self.port} running={self.is_running}>"

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id; 0 before the first start."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """
        Start it and wait until it takes connections.

        Raises:
            Broken: it ended before it did.
        """
        if self._process is not None:
            self.stop()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edge.cli.shop", *self._arguments, "--port", str(self.port)],
                stdin=subprocess.PIPE,  # it ends when this closes, also if we are killed
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,
            )
        said = _pipe(self._process.stdout).readline()
        if not said.strip().isdigit():
            raise Broken(f"{self.name} did not start: {self._log.read_text('utf-8', 'replace')[-2000:]}")
        self.port = int(said)

    def stop(self) -> None:
        """Stop it, if it runs."""
        process = self._process
        if process is not None:
            _end(process, signal.SIGTERM)
            _pipe(process.stdin).close()
            _pipe(process.stdout).close()


def configuration(ports: Ports, shop: list[Origin]) -> str:
    """Return the demo's ``edge.toml``: also an example to start from."""
    port = {origin.name: origin.port for origin in shop}
    return f"""\
[server]
workers = 2
pid_file = "edge.pid"
drain = "5s"

[[listener]]
address = "127.0.0.1:{ports.https}"
tls = true

[[listener]]
address = "127.0.0.1:{ports.http}"
redirect = "https"

[[certificate]]
chain = "certs/fullchain.pem"
key = "certs/privkey.pem"

[cache]
path = "cache"
size = "256 MiB"
memory = "32 MiB"

[compression]
encodings = ["zstd", "br", "gzip"]

[origin.catalog]
servers = ["http://127.0.0.1:{port["catalog"]}"]

[origin.login]
servers = ["http://127.0.0.1:{port["login"]}"]

[origin.orders]
servers = ["http://127.0.0.1:{port["orders-1"]}", "http://127.0.0.1:{port["orders-2"]}"]
balance = "round_robin"

[[route]]
path = "/"
origin = "catalog"

[forward_auth.login]
origin = "login"
path = "/login/check"
copy_headers = ["x-user"]

[rate.login]
limit = 12
per = "1m"
burst = 5

[[route]]
path = "/login"
origin = "login"
[route.access]
rates = ["login"]

[[route]]
path = "/orders"
origin = "orders"
[route.access]
forward_auth = "login"

[log]
access = "access.log"
format = "json"

[admin]
address = "127.0.0.1:{ports.admin}"
"""


def _print_tour(demo: Demo, console: Console) -> None:
    folder = demo.folder
    console.print(f"\n[bold]A shop at the edge:[/bold] https://{HOST}:{demo.ports.https}/ (on 127.0.0.1)\n")
    for what, path in (
        ("configuration", "edge.toml"),
        ("what the edge did, a line per exchange", "access.log"),
        ("what it had to say", "edge.log"),
        ("what reached the shop at all", "shop.log"),
    ):
        console.print(f"  {folder / path}  [dim]{what}[/dim]")
    for number, stop in enumerate(demo.tour(), 1):
        console.print(f"\n[bold]{number}. {stop.title}[/bold]")
        console.print(f"   {stop.shows}", style="dim", markup=False)
        console.print(stop.command, markup=False)
    console.print("\nCtrl-C stops everything and removes the folder.")


def _walk(stops: list[Stop], demo: Demo, console: Console, stopped: threading.Event) -> int:
    failed = 0
    for number, stop in enumerate(stops, 1):
        wrong = _visit(stop, demo.folder, stopped)
        if stopped.is_set():
            return 1
        console.print(f"{'ok    ' if not wrong else 'FAILED'} {number}. {stop.title}", markup=False)
        if wrong:
            failed += 1
            console.print(f"{stop.command}\n{wrong}", markup=False)
    if failed:
        console.print(f"{failed} of {len(stops)} failed. The edge said:\n{demo.last_words()}", markup=False)
    return 1 if failed else 0


def _visit(stop: Stop, folder: Path, stopped: threading.Event) -> str:
    """Run a stop's line as often as it wants; return what was wrong, in full, or nothing."""
    wrong = ""
    for run_ in range(len(stop.runs)):
        for _ in range(SETTLE_TRIES if stop.settles else 1):
            try:
                done = subprocess.run(
                    ["/bin/sh", "-c", stop.command], cwd=folder, capture_output=True, timeout=LINE_S, check=False
                )
            except subprocess.TimeoutExpired:
                return f"still running after {LINE_S:.0f} seconds"
            output = (done.stdout + done.stderr).decode("utf-8", "replace").replace("\r\n", "\n")
            missing = stop.missing(run_, output)
            wrong = f"run {run_ + 1}: {'; '.join(missing)}\n{output}" if missing else ""
            if not wrong or stopped.wait(SETTLE_PAUSE_S if stop.settles else 0):
                break
        if wrong:
            break
    return wrong


def _is_well(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - our own admin address
            return bool(reply.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):  # nobody listens yet, or it says it is not ready
        return False


def _free_ports(*wished: int) -> list[int]:
    """Return a free loopback port for each wish: that one if it is free, any other if not."""
    with contextlib.ExitStack() as stack:
        ports = []
        for port in wished:
            taken = stack.enter_context(socket.socket())
            taken.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # closed connections of an earlier demo do not count
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:  # taken by somebody: any other will do
                taken.bind(("127.0.0.1", 0))
            ports.append(taken.getsockname()[1])
        return ports


def _end(process: subprocess.Popen[bytes], asked: signal.Signals) -> None:
    """Ask a child to end, and make it."""
    if process.poll() is None:
        process.send_signal(asked)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "the process was started with this pipe"
    return stream


@contextlib.contextmanager
def _stopping_on_signals(stopped: threading.Event) -> Iterator[None]:
    """Let INT and TERM set *stopped*, and only that."""
    caught = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
