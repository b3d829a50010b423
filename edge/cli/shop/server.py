"""
What the three origins share: an HTTP/1.1 server whose pages are functions from an :class:`Asked` to an :class:`Answer`.

It does what a decent origin does (keep-alive, HEAD, ETag and Last-Modified with 304, chunked streams) and nothing
more. It ends when the process that started it does: that one holds the other end of standard input.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

Fields = list[tuple[str, str]]

BODY_BYTES = 1 << 20
"""The most a request may bring; nothing in this shop needs more."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read whole. *user* is who asks, as the edge has it: nobody else can say it."""

    method: str
    path: str
    query: dict[str, list[str]]
    cookies: dict[str, str]
    form: dict[str, list[str]]
    user: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One reply.

    Attributes:
        body: the whole body, or pieces to be streamed as they come.
        changed_wall: when the content last changed; gives the reply Last-Modified and ETag.
    """

    status: int
    kind: str
    body: bytes | Iterator[bytes] = b""
    cache: str = "no-store"
    changed_wall: float | None = None
    fields: Fields = field(default_factory=list)


Page = Callable[[Asked], Answer]

NOT_FOUND = Answer(404, "text/plain; charset=utf-8", b"There is no such thing in this shop.\n", "public, max-age=5")


def serve(name: str, page: Page, port: int) -> None:
    """
    Answer on loopback until standard input ends; say the port on standard output once connections are taken.

    Args:
        name: what the replies call this process in ``X-Origin``.
        page: answers every request.
        port: 0 takes any.
    """

    class Handler(_Handler):
        origin = name
        answer = staticmethod(page)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while sys.stdin.buffer.read(4096):
        pass
    server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one write
    timeout = 75

    origin: str
    answer: Page

    def do_GET(self) -> None:
        """Answer whatever was asked; the page looks at the method."""
        body = self._body()
        if body is None:
            return
        url = urlsplit(self.path)
        asked = Asked(
            self.command,
            url.path,
            parse_qs(url.query),
            dict(part.strip().split("=", 1) for part in self.headers.get("cookie", "").split(";") if "=" in part),
            parse_qs(body.decode("utf-8", "replace")),
            unquote(self.headers.get("x-user", "")),
        )
        self._send(type(self).answer(asked))

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the base class looks for these names

    def version_string(self) -> str:
        """What the Server field says."""
        return "shop"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say what was asked: what is not here, the edge answered alone."""
        print(
            f"{self.log_date_time_string()} {self.origin}[{os.getpid()}] {format % args}", file=sys.stderr, flush=True
        )

    def _body(self) -> bytes | None:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            pieces = b""
            while size := int(self.rfile.readline(64).split(b";")[0], 16):
                pieces += self.rfile.read(size)
                self.rfile.readline(4)
                if len(pieces) > BODY_BYTES:
                    break
            else:
                while self.rfile.readline(8192) not in {b"\r\n", b""}:
                    pass
                return pieces
        elif (length := int(self.headers.get("content-length", 0))) <= BODY_BYTES:
            return self.rfile.read(length)
        self.close_connection = True
        self.send_error(413)
        return None

    def _send(self, answer: Answer) -> None:
        status, body = answer.status, answer.body
        fields: Fields = [
            ("Cache-Control", answer.cache),
            ("X-Origin", f"{self.origin} pid={os.getpid()}"),
            *answer.fields,
        ]
        if isinstance(body, bytes) and answer.changed_wall is not None:
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            fields += [("ETag", etag), ("Last-Modified", formatdate(answer.changed_wall, usegmt=True))]
            if self._is_known(etag, answer.changed_wall):
                status, body = 304, b""
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Type", answer.kind)
            if isinstance(body, bytes):
                self.send_header("Content-Length", str(len(body)))
            else:
                self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(body)

    def _send_body(self, body: bytes | Iterator[bytes]) -> None:
        if isinstance(body, bytes):
            self.wfile.write(body)
            return
        for piece in body:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _is_known(self, etag: str, changed_wall: float) -> bool:
        if self.command not in {"GET", "HEAD"}:
            return False
        known = self.headers.get("if-none-match")
        if known is not None:
            return etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]
        since = self.headers.get("if-modified-since")
        try:
            return since is not None and parsedate_to_datetime(since).timestamp() >= int(changed_wall)
        except ValueError:
            return False
