"""
What systemd is told: sd_notify(3), spoken over its datagram socket.

Without ``NOTIFY_SOCKET`` every call does nothing. It never waits and never raises: a service manager that does not
listen must not stop a server. The variables are taken out of the environment, so that no child speaks in our name;
:meth:`Notifier.variables` gives them back for a successor.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping


class Notifier:
    """
    The line to the service manager.

    Attributes:
        watchdog_s: how often :meth:`beat` is due (half of what systemd waits); None = no watchdog.
    """

    def __init__(self, path: str = "", watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._path = path
        self._status = ""
        self._sock: socket.socket | None = None
        if path:
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._sock.setblocking(False)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str], pid: int | None = None) -> Notifier:
        """Read what systemd said, and take it out of *environ*."""
        path = environ.pop("NOTIFY_SOCKET", "")
        usec = environ.pop("WATCHDOG_USEC", "")
        meant_for = environ.pop("WATCHDOG_PID", "")
        is_ours = meant_for in {"", str(os.getpid() if pid is None else pid)}
        watchdog_s = int(usec) / 2e6 if is_ours and usec.isdecimal() and int(usec) else None
        return cls(path, watchdog_s)

    def variables(self) -> dict[str, str]:
        """Return what a successor needs to speak on the same line. The watchdog's pid is left out: it will be its own."""
        found = {"NOTIFY_SOCKET": self._path} if self._path else {}
        if self.watchdog_s:
            found["WATCHDOG_USEC"] = str(int(self.watchdog_s * 2e6))
        return found

    def ready(self) -> None:
        """Startup, or a reload, is complete."""
        self._say("READY=1")

    def reloading(self, now_mono: float) -> None:
        """A reload begins; systemd needs the time to tell it from an earlier one."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={int(now_mono * 1e6)}")

    def stopping(self) -> None:
        """Nothing new is begun any more."""
        self._say("STOPPING=1")

    def status(self, sentence: str) -> None:
        """Say how things are, for ``systemctl status``; the same sentence is said once."""
        if sentence != self._status:
            self._status = sentence
            self._say("STATUS=" + " ".join(sentence.split()))

    def main_pid(self, pid: int) -> None:
        """Another process is the service from now on."""
        self._say(f"MAINPID={pid}")

    def beat(self) -> None:
        """Tell the watchdog that the master's loop turns."""
        if self.watchdog_s is not None:
            self._say("WATCHDOG=1")

    def _say(self, words: str) -> None:
        if self._sock is not None:
            address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
            with contextlib.suppress(OSError):  # nobody listens, or not now: it is only news
                self._sock.sendto(words.encode("utf-8", "replace"), address)

    def close(self) -> None:
        """Hang up."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
