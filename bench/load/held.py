"""
Hold TLS connections: ``held.py PORT COUNT PATH [OTHERS]`` opens them, asks once on each, says ``held`` and waits for the end of its input.

Each client address makes 20,000 at most: that is what fits into one's ephemeral ports. OTHERS is how many other processes like this one hold.
"""

from __future__ import annotations

import resource
import signal
import socket
import ssl
import sys

PER_ADDRESS = 20_000
BIND_ADDRESS_NO_PORT = 24
"""ip(7): the port is chosen when it connects."""


def more_of(sock: ssl.SSLSocket) -> bytes:
    """Read some; it is an error if there is nothing."""
    data = sock.recv(65536)
    if not data:
        raise ConnectionError("closed in the middle of a reply")
    return data


def main() -> int:
    """Open, say so, wait."""
    signal.alarm(round(60 + int(sys.argv[2]) / 100))  # nobody is to wait for us for ever
    port, count, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    others = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 50:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 50, max(hard, count + 50)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = f"GET {path} HTTP/1.1\r\nHost: bench.example\r\n\r\n".encode()
    held = []
    for number in range(count):
        plain = socket.socket()
        plain.settimeout(20)
        plain.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)  # one that rests after an earlier run will do
        plain.bind((f"127.0.0.{1 + (others + number) // PER_ADDRESS}", 0))
        plain.connect(("127.0.0.1", port))
        sock = context.wrap_socket(plain, server_hostname="bench.example")
        sock.sendall(request)
        got = b""
        while b"\r\n\r\n" not in got:
            got += more_of(sock)
        head, _, body = got.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += more_of(sock)
        held.append(sock)
    print("held", flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
