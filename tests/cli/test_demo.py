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
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from edge.cli import demo
from edge.cli.demo import Broken, Demo, Origin, Ports, configuration
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
