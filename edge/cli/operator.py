"""
A running edge's admin address, as a command asks it.

Finds the address in the configuration, asks, and gives back what was answered; what went wrong is one sentence. Knows plain
HTTP over TCP and Unix sockets, and nothing of what is asked.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from edge.config import load
from edge.config.address import parse_address
from edge.config.tree import Admin

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge.config.address import Address

TIMEOUT_S: Final = 10.0
"""An edge answers at once, or is in trouble."""

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a listener may be bound to; we ask nearby


class Unanswered(Exception):  # noqa: N818 - it may be the edge's fault, or the file's
    """The edge could not be asked, or refused; the text says why."""


class Misasked(Unanswered):
    """What was asked for makes no sense: an address, a tag, a status that is none; the text says which."""


class Operator:
    """
    Asks the edge that runs with the configuration at *config*.

    Args:
        config: a file.
        address: where to ask instead of where the file says, in the file's notation.

    Raises:
        Misasked: *address* is none that can be asked.
        Unanswered: the file cannot be read, or gives no address that can be asked.
    """

    def __init__(self, config: Path, address: str | None = None) -> None:
        admin = _configured(config, must_say_where=address is None)
        self._tokens = admin.tokens
        self._address = _parsed(admin.address or "", Unanswered) if address is None else _parsed(address, Misasked)

    def ask(self, method: str, path: str, query: Iterable[tuple[str, str]] = ()) -> Any:
        """
        Return what the edge answers, decoded.

        Raises:
            Misasked: what was asked for makes no sense to it.
            Unanswered: it could not be reached, or did not do what was asked.
        """
        written = urlencode(list(query))
        connection = self._connection()
        try:
            headers = {} if self._tokens is None else {"Authorization": f"Bearer {_first_token(self._tokens)}"}
            connection.request(method, f"{path}?{written}" if written else path, headers=headers)
            reply = connection.getresponse()
            body = reply.read()
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unanswered(f"the edge does not answer at {self}: {why}") from error
        finally:
            connection.close()
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if reply.status != 200:
            said = answer.get("error") if isinstance(answer, dict) else None
            if said and reply.status == 400:
                raise Misasked(said)
            raise Unanswered(said or f"the edge at {self} answers {path} with {reply.status} {reply.reason}")
        if answer is None:
            raise Unanswered(f"what answers at {self} is not an edge's admin address")
        return answer

    def __str__(self) -> str:
        if self._address.kind == "unix":
            return f"unix:{self._address.path}"
        host = f"[{self._address.host}]" if ":" in self._address.host else self._address.host
        return f"{host}:{self._address.port}"

    def _connection(self) -> http.client.HTTPConnection:
        if self._address.kind == "unix":
            return _UnixConnection(self._address.path)
        host = _EVERYWHERE.get(self._address.host, self._address.host)
        return http.client.HTTPConnection(host, self._address.port, timeout=TIMEOUT_S)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _first_token(path: Path) -> str:
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise Unanswered(f"{path}, with the tokens for the admin address, cannot be read: {why}") from error
    return next((line for line in lines if line and not line.startswith("#")), "")


def _configured(path: Path, *, must_say_where: bool) -> Admin:
    """Read what the file says of the admin address; where that is given otherwise, the file need not be there."""
    if not must_say_where and not path.exists():
        return Admin()
    loaded = load(path)
    if loaded.config is None:
        raise Unanswered("\n".join(str(problem) for problem in loaded.problems))
    if loaded.config.admin.address is None and must_say_where:
        raise Unanswered(f"{path}: there is no [admin] address to ask; set one, or name it with --admin")
    return loaded.config.admin


def _parsed(text: str, wrong: type[Unanswered]) -> Address:
    try:
        address = parse_address(text)
    except ValueError as error:
        raise wrong(str(error)) from None
    if address.kind == "systemd":
        raise wrong(f"{text} is a socket of systemd's; name its address with --admin")
    return address
