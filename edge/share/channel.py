"""
What master and child say to each other, and the socket they say it over.

Words are few and each is one datagram on a ``SOCK_SEQPACKET`` pair: it arrives whole or not at all, and descriptors
travel with it. A message too large for one datagram is cut and put together again here. Nothing ever blocks: what
does not fit into the socket waits in :class:`Channel` and leaves with :meth:`Channel.flush`, so a hung child
cannot hold up the master.

The end of the socket is itself a word, :attr:`Word.GONE`: a child that hears it has lost its master and leaves by
the same door as one that was asked to.

Source: Pitchfork ``message.rb``; unix(7), SCM_RIGHTS.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

_PAYLOAD: Final = 32 * 1024
"""Bytes per datagram: well below the smallest default send buffer (208 KiB), so that several wait in the socket."""
_FDS: Final = 200
"""Descriptors per datagram: the kernel's SCM_MAX_FD is 253."""
_MORE: Final = b"+"
_LAST: Final = b"."


class Word(Enum):
    """Everything that can be said. The comment names who says it and what goes with it."""

    READY = b"ready"  # child: I take connections now
    FAILED = b"failed"  # child: I cannot start; payload: why, one sentence in UTF-8
    RELOADED = b"reloaded"  # child: certificates are in use; payload: empty, or why not
    LEAVE = b"leave"  # master: take what is pending in your queues, then accept no more, finish what you carry, go
    RELOAD_CERTS = b"reload_certs"  # master: payload: what ContextStore packs; descriptors: its memfds
    REOPEN_LOGS = b"reopen_logs"  # master: payload: names, comma-separated; descriptors: the files in that order
    TAKE = b"take"  # master: payload: a listener's address as configured; descriptors: connections accepted from a
    #                 queue nobody holds any more; serve them as if accepted from that listener
    GONE = b""  # the other side has closed or died; nothing follows


@dataclass(slots=True)
class Message:
    """One thing said. Whoever receives it owns ``fds`` and closes them."""

    word: Word
    payload: bytes = b""
    fds: list[int] = field(default_factory=list)


class Channel:
    """
    One end of the conversation.

    Args:
        sock: one end of ``socketpair(AF_UNIX, SOCK_SEQPACKET)``; made non-blocking here.
    """

    __slots__ = ("_out", "_part", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._out: deque[tuple[bytes, list[int]]] = deque()
        self._part: Message | None = None

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Return both ends, the master's first."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """Return the descriptor to wait on; -1 once closed."""
        return self.sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether something waits for room in the socket; call :meth:`flush` when there is."""
        return bool(self._out)

    def send(self, word: Word, payload: bytes = b"", fds: list[int] | tuple[int, ...] = ()) -> None:
        """
        Say *word*. Never blocks and never raises: if the other side is gone, :meth:`receive_nowait` will say so.

        Descriptors are copied before this returns; the caller keeps and closes its own.
        """
        assert word is not Word.GONE, "one leaves by closing"
        copies = [os.dup(fd) for fd in fds]
        head = word.value + b"\n"
        while len(payload) > _PAYLOAD or len(copies) > _FDS:
            self._out.append((_MORE + head + payload[:_PAYLOAD], copies[:_FDS]))
            payload, copies = payload[_PAYLOAD:], copies[_FDS:]
        self._out.append((_LAST + head + payload, copies))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as there is room."""
        while self._out:
            data, fds = self._out[0]
            try:
                if fds:
                    socket.send_fds(self.sock, [data], fds, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                else:
                    self.sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:  # the other side is gone (EPIPE, ECONNRESET): nobody will hear the rest
                self._drop()
                return
            self._out.popleft()
            _close_all(fds)

    def receive_nowait(self) -> Message | None:
        """Return the next thing said, or None if nothing whole has arrived. After GONE, always GONE."""
        while True:
            try:
                data, ancillary, _, _ = self.sock.recvmsg(
                    _PAYLOAD + 64, socket.CMSG_SPACE(_FDS * 4), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return None
            except OSError:  # ECONNRESET: it died with our words unread; EBADF: we closed
                return Message(Word.GONE)
            fds = array.array("i")
            for level, kind, raw in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
            if not data:
                return Message(Word.GONE)
            whole = self._join(data, fds.tolist())
            if whole is not None:
                return whole

    def _join(self, data: bytes, fds: list[int]) -> Message | None:
        name, _, payload = data[1:].partition(b"\n")
        word = Word(name)
        part = self._part or Message(word)
        assert part.word is word, "a message cut in pieces is not interrupted"
        part.payload += payload
        part.fds += fds
        self._part = part if data[:1] == _MORE else None
        return part if self._part is None else None

    def _drop(self) -> None:
        while self._out:
            _close_all(self._out.popleft()[1])

    def close(self) -> None:
        """End the conversation; the other side hears GONE."""
        self._drop()
        self.sock.close()


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):  # it is our own copy; a failing close leaves nothing to be done
            os.close(fd)
