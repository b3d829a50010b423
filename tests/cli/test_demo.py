"""The demo starts what it says, starts it again when it dies, and leaves nothing behind."""

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from edge.cli import demo
from edge.cli.demo import Broken, Demo, Origin, Ports, configuration
from edge.cli.tour import Stop
from edge.clock import SYSTEM
from edge.config.load import load


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    origin = Origin("catalog", ("catalog",), tmp_path)
    origin.start()
    yield origin
    origin.stop()


def catalog_from(origin: Origin) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{origin.port}/catalog/", timeout=10) as reply:
        return bytes(reply.read())


def test_a_started_origin_takes_connections_and_a_stopped_one_is_gone(origin: Origin) -> None:
    page = catalog_from(origin)
    origin.stop()

    assert b"<h1>Catalog</h1>" in page
    assert not origin.is_running


def test_a_killed_origin_starts_again_on_its_port(origin: Origin) -> None:
    port, pid = origin.port, origin.pid
    os.kill(pid, signal.SIGKILL)
    origin._process.wait()
    origin.start()

    assert (port, True) == (origin.port, origin.is_running)
    assert origin.pid != pid
    assert catalog_from(origin)


def test_an_origin_that_cannot_start_says_why(tmp_path: Path) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    origin = Origin("catalog", ("catalog",), tmp_path)
    origin.port = taken.getsockname()[1]
    with pytest.raises(Broken, match="catalog did not start"):
        origin.start()
    origin.stop()
    taken.close()


def test_the_configuration_passes_its_own_check(tmp_path: Path) -> None:
    shop = [Origin(name, (name,), tmp_path) for name in ("catalog", "login", "orders-1", "orders-2")]
    for port, each in enumerate(shop, 9001):
        each.port = port
    path = tmp_path / "edge.toml"
    path.write_text(configuration(Ports(8443, 8080, 9180), shop))
    loaded = load(path)

    assert loaded.problems == []
    assert loaded.config is not None
    assert {"catalog", "login", "orders"} == set(loaded.config.origins)


def test_wished_ports_are_taken_where_they_are_free() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    other, any_ = demo._free_ports(port, 0)

    assert port not in {other, any_}
    taken.close()


def test_a_demo_made_for_this_folder_has_certificates_from_one_authority(tmp_path: Path) -> None:
    made = Demo(tmp_path, SYSTEM)
    made._make_certificates()

    assert {"ca.pem", "certs", "renewed"} == {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "certs/fullchain.pem").read_bytes() != (tmp_path / "renewed/fullchain.pem").read_bytes()


def stop(command: str, *runs: str, settles: bool = False) -> Stop:
    return Stop("title", command, "shows", tuple((pattern,) for pattern in runs), settles=settles)


def test_a_stop_is_run_as_often_as_it_has_something_to_show(tmp_path: Path) -> None:
    walked = stop("echo x >> log; wc -l < log", "^1$", "^2$", "^3$")

    assert demo._visit(walked, tmp_path, threading.Event()) == ""


def test_a_stop_that_shows_something_else_is_told_with_its_whole_output(tmp_path: Path) -> None:
    wrong = demo._visit(stop("echo said; echo and this >&2", "^said$", "other"), tmp_path, threading.Event())

    assert wrong.startswith("run 2: no 'other'\nsaid\nand this")


def test_a_stop_that_settles_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SETTLE_PAUSE_S", 0.0)
    settling = "echo x >> log; wc -l < log"

    assert demo._visit(stop(settling, "^4$", settles=True), tmp_path, threading.Event()) == ""
    assert "no '^1$'" in demo._visit(stop(settling, "^1$", settles=True), tmp_path, threading.Event())


def test_a_line_that_never_ends_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "LINE_S", 0.01)

    assert "still running" in demo._visit(stop("exec cat /dev/zero > /dev/null", "x"), tmp_path, threading.Event())


class Hours:
    """A clock that goes on by a second each time it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def mono(self) -> float:
        self.now += 1.0
        return self.now

    def wall(self) -> float:
        return 1.7e9 + self.now


class Turns(threading.Event):
    """Lets so many turns pass, then says stop; does on each what it was given."""

    def __init__(self, turns: int, each: Callable[[int], None]) -> None:
        super().__init__()
        self._left = turns
        self._each = each

    def wait(self, timeout: float | None = None) -> bool:
        self._left -= 1
        self._each(self._left)
        return self._left <= 0


class Edge:
    """Stands for the edge's process."""

    def __init__(self, code: int | None = None) -> None:
        self.code = code

    def poll(self) -> int | None:
        return self.code


def test_a_killed_shop_process_stays_away_for_a_while_and_then_comes_back(tmp_path: Path, origin: Origin) -> None:
    watched = Demo(tmp_path, Hours())
    watched.edge = Edge()  # type: ignore[assignment]
    watched.shop = [origin]
    os.kill(origin.pid, signal.SIGKILL)
    origin._process.wait()
    said: list[str] = []
    ran: list[bool] = []
    watched.watch(Turns(20, lambda _: ran.append(origin.is_running)), said.append)

    assert said[0].startswith("catalog ended; it is started again in 10 seconds.")
    assert said[1] == f"catalog is back (process {origin.pid})."
    assert ran[:10] == [False] * 10
    assert ran[-1]


def test_the_end_of_the_edge_is_the_end_of_the_demo(tmp_path: Path) -> None:
    watched = Demo(tmp_path, Hours())
    watched.edge = Edge(3)  # type: ignore[assignment]
    (tmp_path / "edge.log").write_text("why it ended\n")
    with pytest.raises(Broken, match=r"ended with 3\nwhy it ended"):
        watched.watch(Turns(5, lambda _: None), print)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour is made of curl lines")
def test_the_whole_tour_works() -> None:
    said = io.StringIO()
    code = demo.run(check=True, console=Console(file=said, soft_wrap=True))

    assert code == 0, said.getvalue()
    assert "FAILED" not in said.getvalue()


@pytest.mark.slow
def test_ctrl_c_stops_everything_the_demo_started() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "demo"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0
    )
    assert process.stdout
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    lines = []
    for line in process.stdout:
        lines.append(line)
        if b"Ctrl-C" in line:
            break
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    watchdog.cancel()

    assert process.wait() == 0, b"".join(lines) + rest
    assert len(children) == 5
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    process.stdout.close()
