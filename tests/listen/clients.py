"""Clients that connect and wait."""

from __future__ import annotations

import socket


def connect_many(address, count: int) -> list[socket.socket]:
    """Connect *count* times to *address*; every handshake is complete when this returns."""
    return [socket.create_connection(address[:2], timeout=5) for _ in range(count)]


def count_pending(queue: socket.socket) -> int:
    """Accept and close whatever waits in *queue*; return how many."""
    count = 0
    while True:
        try:
            queue.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1
