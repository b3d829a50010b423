"""
Servers from Debian as second opinions on what a message says: nginx, HAProxy and Apache httpd.

Each answers every request with what it understood (method, host and target) and nothing else, so that the replies on
one connection are the list of requests that its parser found in the bytes. What they bring along of rewriting and
normalising is off or comes later than what is shown.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.node import free_ports

PATIENCE_S = 60.0
"""A busy machine takes its time; nothing but the end of a connection is waited for."""

BEHIND = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n" * 20

NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log crit;
{user}
events {{ worker_connections 512; }}
http {{
  access_log off; lingering_close off; keepalive_requests 100000; client_max_body_size 1m; default_type text/plain;
  client_body_temp_path {folder}/n1; proxy_temp_path {folder}/n2; fastcgi_temp_path {folder}/n3;
  uwsgi_temp_path {folder}/n4; scgi_temp_path {folder}/n5;
  server {{
    listen 127.0.0.1:{port};
    add_header X-Saw "$request_method $http_host $request_uri";
    return 200 "";
  }}
}}
"""

HAPROXY = """
global
    maxconn 512
    nbthread 1
defaults
    mode http
    timeout client 4s
    timeout connect 1s
    timeout server 4s
    timeout http-request 4s
    option http-buffer-request
frontend all
    bind 127.0.0.1:{port}
    http-request return status 200 hdr X-Saw "%[method] %[req.fhdr(host)] %[url]"
"""

APACHE = """
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.log
LogLevel crit
DefaultRuntimeDir {folder}
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule headers_module {modules}/mod_headers.so
LoadModule rewrite_module {modules}/mod_rewrite.so
ServerLimit 1
StartServers 1
ThreadsPerChild 32
MaxRequestWorkers 32
MaxKeepAliveRequests 0
KeepAliveTimeout 5
DocumentRoot {folder}
RewriteEngine on
RewriteRule ^ - [R=404,L]
Header always set X-Saw "expr=%{{REQUEST_METHOD}} %{{HTTP_HOST}} %{{THE_REQUEST}}"
ErrorDocument 404 "-"
ErrorDocument 400 "-"
ErrorDocument 501 "-"
"""


@dataclass(frozen=True)
class Saw:
    """One request as a peer understood it; *host* in lower case."""

    method: bytes
    host: bytes
    target: bytes


@dataclass(frozen=True)
class Heard:
    """
    What a peer made of one connection's bytes.

    Attributes:
        saw: the requests it answered, in order.
        refused: the status with which it gave up, if it did (0: it closed without a word).
        left: its last answer said that it would look at nothing more.
    """

    saw: tuple[Saw, ...]
    refused: int | None = None
    left: bool = False


class Peer:
    """A running server and how to ask it."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port

    async def hear(self, wire: bytes) -> Heard:
        """
        Send *wire*, whose last request asks to close, and our end of file; read what it answers until its own.

        HAProxy forgets the requests behind the first one when the client has ended its half. Instead it gets more requests, of
        which it looks at none if it has heard the last; else it answers one, refuses what is left of one, or waits in vain.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        got = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                if self.name == "haproxy":
                    writer.write(wire + BEHIND)
                else:
                    writer.write(wire)
                    writer.write_eof()
                while piece := await reader.read(65536):
                    got += piece
        except ConnectionError:
            pass  # it had said what it had to say, and closed on the rest
        finally:
            writer.transport.abort()
        return self.understood(got)

    def understood(self, got: bytes) -> Heard:
        """Read the replies."""
        saw: list[Saw] = []
        left = False
        while got:
            head, _, got = got.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 "):
                return Heard(tuple(saw), 0)  # an answer to HTTP/0.9 has no head
            status = int(head[9:12])
            if status == 100:
                continue
            fields = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
            }
            said = fields.get(b"x-saw")
            if status == 408:
                return Heard(tuple(saw))  # it waited for more
            if said is None or status not in {200, 404}:
                return Heard(tuple(saw), status)
            left = fields.get(b"connection", b"").lower() == b"close"
            method, _, rest = said.partition(b" ")
            if method != b"HEAD":
                got = got[int(fields.get(b"content-length", b"0")) :]
            host, _, target = rest.partition(b" ")
            if self.name == "apache":  # the request line itself
                target = target.partition(b" ")[2].rpartition(b" ")[0]
            saw.append(Saw(method, host.lower(), target))
        return Heard(tuple(saw), left=left)


def installed() -> list[str]:
    """Return which of them are here."""
    paths = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return [name for name, program in PROGRAMS.items() if shutil.which(program, path=paths)]


PROGRAMS = {"nginx": "nginx", "haproxy": "haproxy", "apache": "apache2"}


@contextmanager
def running(folder: Path) -> Iterator[list[Peer]]:
    """Start those that are installed; skip the test when none is."""
    names = installed()
    if not names:
        pytest.skip("none of nginx, haproxy and apache2 is installed")
    folder.chmod(0o755)
    paths = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    processes: list[subprocess.Popen[bytes]] = []
    is_root = os.geteuid() == 0
    try:
        peers = []
        for name, port in zip(names, free_ports(len(names)), strict=True):
            config = folder / f"{name}.conf"
            match name:
                case "nginx":
                    text = NGINX.format(folder=folder, port=port, user="")
                    command = ["nginx", "-p", str(folder), "-e", str(folder / "nginx.log"), "-c", str(config)]
                case "haproxy":
                    text = HAPROXY.format(port=port)
                    command = ["haproxy", "-db", "-f", str(config)]
                case _:
                    user = "User www-data\nGroup www-data" if is_root else ""
                    text = APACHE.format(folder=folder, port=port, user=user, modules="/usr/lib/apache2/modules")
                    command = ["apache2", "-f", str(config), "-DFOREGROUND"]
            config.write_text(text)
            with (folder / f"{name}.out").open("wb") as out:
                processes.append(subprocess.Popen(command, stdout=out, stderr=out, env=paths))
            peers.append(Peer(name, port))
        for peer, process in zip(peers, processes, strict=True):
            _await(peer, process, folder)
        yield peers
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(peer: Peer, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", peer.port)):
                return
        assert process.poll() is None, (folder / f"{peer.name}.out").read_text()
        assert time.monotonic() < end, f"{peer.name} does not listen"
        time.sleep(0.02)
