"""A real master in a process of its own, spoken to by signals, sockets and systemd's protocol."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.master.loop import SAME_S

ROOT = Path(__file__).parents[2]
PATIENCE_S = 15.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


class Running:
    """One master, its clients, and what it tells systemd."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "edge.toml"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.main_pid = 0
        self.said = ""
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(directory / "notify"))
        self.configure()

    def configure(self, *, workers: int = 2, drain: str = "2s", listener: str = "", more: str = "") -> None:
        listener = listener or f'address = "127.0.0.1:{self.port}"'
        self.config.write_text(
            f'[server]\nworkers = {workers}\ndrain = "{drain}"\npid_file = "edge.pid"\n'
            f"[[listener]]\n{listener}\n"
            '[origin.a]\nservers = ["http://127.0.0.1:9"]\n[[route]]\norigin = "a"\n' + more
        )

    def fault(self, name: str) -> None:
        (self.directory / name).touch()

    def mend(self, name: str) -> None:
        (self.directory / name).unlink()

    def start(self, command: list[str] | None = None, **popen) -> Running:
        python = [sys.executable, "-W", "error", "-m", "tests.master.dummy", str(self.config)]
        self.process = subprocess.Popen(
            command or python,
            cwd=ROOT,
            env=os.environ | {"NOTIFY_SOCKET": str(self.directory / "notify")} | popen.pop("env", {}),
            stderr=subprocess.PIPE,
            **popen,
        )
        self.main_pid = self.process.pid
        return self

    def ready(self) -> Running:
        self.told("READY=1")
        return self

    # What it is told and asked.

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.main_pid, number)

    def ask(self, words: str, port: int | None = None) -> str:
        with self.send(words, port) as client:
            return self.answer(client)

    def send(self, words: str, port: int | None = None) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", port or self.port), timeout=PATIENCE_S)
        client.sendall(words.encode() + b"\n")
        return client

    @staticmethod
    def answer(client: socket.socket) -> str:
        with client.makefile() as lines:
            return lines.readline().strip()

    def who(self, times: int = 24) -> dict[int, int]:
        """Place by pid, of all workers that answer."""
        answers = [self.ask("who").split() for _ in range(times)]
        return {int(pid): int(place) for pid, place, *_ in answers}

    def generations(self) -> set[int]:
        return {int(self.ask("who").split()[2]) for _ in range(12)}

    # What it says.

    def told(self, *beginnings: str) -> str:
        """Wait until systemd is told something that begins so; return it."""
        self._manager.settimeout(PATIENCE_S)
        while True:
            words = self._manager.recv(4096).decode()
            if words.startswith(beginnings):
                return words

    def status(self, part: str) -> str:
        """Wait for a status that contains *part*."""
        while part not in (words := self.told("STATUS=")):
            pass
        return words

    def hear(self, part: str) -> str:
        """Wait until a line on standard error contains *part*; return all that was said so far."""
        assert self.process is not None
        assert self.process.stderr is not None
        give_up = time.monotonic() + PATIENCE_S
        while part not in self.said:
            left = give_up - time.monotonic()
            readable, _, _ = select.select([self.process.stderr], [], [], max(left, 0))
            chunk = os.read(self.process.stderr.fileno(), 65536).decode() if readable else ""
            if not chunk:
                raise AssertionError(f"never said {part!r}; said:\n{self.said}")
            self.said += chunk
        return self.said

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        assert self.process is not None
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        process = self.process
        if process is not None:
            pids = {self.main_pid, process.pid}
            for _ in range(2):
                for pid in pids:
                    if pid != process.pid or process.poll() is None:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(SAME_S)
                if len(pids) > 1:  # the other is nobody's child that we could wait for
                    time.sleep(SAME_S)
            if process.poll() is None:
                process.wait(PATIENCE_S)
            process.stderr.close()
        self._manager.close()


@pytest.fixture
def edge(tmp_path):
    running = Running(tmp_path)
    yield running
    running.close()
