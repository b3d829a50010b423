"""An admin address that a test answers for."""

from __future__ import annotations

import http.server
import socketserver
import threading
from urllib.parse import parse_qsl, urlsplit

import pytest


class Desk(http.server.BaseHTTPRequestHandler):
    """An admin address that notes what it is asked and answers what it was told to."""

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        self.server.asked.append((self.command, parts.path, parse_qsl(parts.query)))
        self.server.shown.append(self.headers["Authorization"])
        status, body = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_) -> None:
        pass

    def address_string(self) -> str:
        return "somebody"


class _Tcp(socketserver.TCPServer):
    pass


class _Unix(socketserver.UnixStreamServer):
    pass


@pytest.fixture(params=["tcp", "unix"])
def desk(request, tmp_path):
    server = _Tcp(("127.0.0.1", 0), Desk) if request.param == "tcp" else _Unix(str(tmp_path / "s"), Desk)
    server.asked, server.answers, server.shown = [], [], []
    server.where = f"127.0.0.1:{server.server_address[1]}" if request.param == "tcp" else f"unix:{tmp_path / 's'}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
