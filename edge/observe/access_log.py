r"""
One line per exchange: how it is escaped and written.

Whole batches of entries are formatted at once, off the hot path (:mod:`edge.observe.ledger` records them). What repeats
is formatted once: a head seen again in the same batch (identical heads are one object), a
user agent, host or path seen before (by its bytes, bounded). Knows nothing of why an exchange ended as it did.

Every byte a client can choose leaves as printable ASCII, so a line can neither be forged nor steer a terminal:
JSON escapes as JSON does, ``combined`` escapes as Apache does (``\xHH``). Bytes that are not UTF-8 appear in
JSON as the four characters ``\xHH``.

Cost: 1-2 µs per line; ``bench/micro/test_observe.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Final, Protocol

from edge.message.head import RequestHead

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.observe.sink import Sink

Entry = tuple[
    float,  # 0 ended_wall: when the exchange ended, seconds since the epoch
    str,  # 1 client: an IP address without port, "" on a unix socket; never text a client wrote
    str,  # 2 tls: "TLSv1.3", or "" on a plain connection
    RequestHead | bytes | None,  # 3 head; what came of the first line of a request that was not understood, or None
    int,  # 4 status: of the final reply; 0 when nothing could be said
    int,  # 5 sent_bytes: of the body
    float,  # 6 duration_s: from the head's last byte to the reply's last byte taken by the kernel
    str,  # 7 outcome: one of names.OUTCOMES
    str,  # 8 encoding: the reply's content coding, ours or as the origin said it, or ""
    str,  # 9 origin: "name" or "name/server", or "" when none was asked
    float,  # 10 origin_s: until the origin's reply head; 0.0 when none was asked
    str,  # 11 request_id: what the origin was told, or would have been; or ""
    str,  # 12 fault: the Fault's word, or ""
    str,  # 13 detail: the Fault's detail, or ""
]
"""One ended exchange. A plain tuple, built in place: naming its parts would cost the hot path ten times as much."""

HEAD: Final = 3
STATUS: Final = 4
SENT_BYTES: Final = 5
DURATION_S: Final = 6
OUTCOME: Final = 7
FAULT: Final = 12
"""Where the parts of an :data:`Entry` are that others look at."""

BACKLOG_BYTES: Final = 1 << 20
"""Formatted bytes kept for a log that takes none now; what comes on top is dropped and counted."""

MEMO_ENTRIES: Final = 4096
MEMO_BYTES: Final = 512
"""Values remembered in their escaped form, and the longest worth it: at most about 5 MiB per worker."""


class Format(Protocol):
    """Turns entries into lines, each ending in a newline. Raises nothing, whatever the bytes."""

    def lines(self, entries: list[Entry]) -> list[str]:
        """Return one line per entry, in order."""
        ...


class AccessLog:
    """
    The access log of one process.

    Attributes:
        dropped: lines lost so far because the sink did not take them.
    """

    __slots__ = ("_format", "_pending", "_sink", "dropped")

    def __init__(self, sink: Sink, format_: Format) -> None:
        self._sink = sink
        self._format = format_
        self._pending = b""
        self.dropped = 0

    def __repr__(self) -> str:
        return f"<AccessLog {self._sink!r} pending={len(self._pending)} dropped={self.dropped}>"

    def write(self, batch: list[Entry]) -> None:
        """
        Format and write *batch*, after what is pending, without ever waiting.

        What the sink does not take is kept up to BACKLOG_BYTES; beyond, whole batches are dropped and counted. An
        empty batch only tries again what is pending.
        """
        if self._pending:
            self._pending = self._pending[self._sink.write(self._pending) :]
            if len(self._pending) > BACKLOG_BYTES:
                self.dropped += len(batch)
                return
        if batch:
            data = "".join(self._format.lines(batch)).encode("ascii", "backslashreplace")
            self._pending = self._pending + data if self._pending else data[self._sink.write(data) :]

    def reopen(self) -> None:
        """
        Open the path anew; what is pending goes to the old file as far as it takes it, the rest to the new one.

        Raises:
            OSError: the path cannot be opened; the old file stays in use.
        """
        self.write([])
        self._sink.reopen()

    def replace(self, fd: int) -> None:
        """Go on with *fd*, which a process with the right opened."""
        self.write([])
        self._sink.replace(fd)

    def close(self) -> None:
        """Write what is pending as far as the sink takes it, drop the rest, close."""
        self.write([])
        self.dropped += self._pending.count(b"\n")
        self._pending = b""
        self._sink.close()


def make_format(name: str) -> Format:
    """Return the format a configuration names: ``"json"`` or ``"combined"``."""
    return JsonFormat() if name == "json" else CombinedFormat()


class _Escaped(dict[bytes, str]):
    """Bytes → their escaped text. Bounded: full, it forgets everything and begins again."""

    __slots__ = ("_escape",)

    def __init__(self, escape: Callable[[bytes], str]) -> None:
        super().__init__()
        self._escape = escape

    def __missing__(self, raw: bytes) -> str:
        text = self._escape(raw)
        if len(raw) <= MEMO_BYTES:
            if len(self) >= MEMO_ENTRIES:
                self.clear()
            self[raw] = text
        return text


class _Milliseconds(dict[int, str]):
    """Microseconds → milliseconds as text. Bounded like :class:`_Escaped`; hits take few different whole microseconds."""

    __slots__ = ()

    def __missing__(self, micros: int) -> str:
        text = f"{micros / 1000:.3f}"
        if len(self) >= MEMO_ENTRIES:
            self.clear()
        self[micros] = text
        return text


def json_text(raw: bytes) -> str:
    r"""Return *raw* as a JSON string with its quotes: ASCII; bytes that are not UTF-8 become ``\xHH``."""
    return encode_basestring_ascii(raw.decode("utf-8", "backslashreplace"))


class JsonFormat:
    """
    One JSON object per line. Absent parts are left out, so a missing ``origin`` says that none was asked.

    Keys, in order: time client [tls] [method host target protocol [agent] [referer]] status bytes duration_ms cache
    [encoding] [origin origin_ms] [request_id] [fault] [detail].
    """

    __slots__ = ("_escaped", "_ms", "_second", "_second_text")

    def __init__(self) -> None:
        self._escaped = _Escaped(json_text)
        self._ms = _Milliseconds()
        self._second = -1
        self._second_text = ""

    def lines(self, entries: list[Entry]) -> list[str]:
        """Return one line per entry. Cost: about 1 µs each when heads repeat, 2 µs when none does."""
        lines: list[str] = []
        add = lines.append
        ms = self._ms
        heads: dict[int, str] = {}  # by identity: the entries keep the heads alive as long as this lives
        for (
            ended,
            client,
            tls,
            head,
            status,
            sent,
            duration,
            outcome,
            encoding,
            origin,
            origin_s,
            request_id,
            fault,
            detail,
        ) in entries:
            second = int(ended)
            if second != self._second:
                self._second = second
                self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            asked = heads.get(id(head))
            if asked is None:
                asked = heads[id(head)] = self._asked(head)
            line = (
                f'{{"time":"{self._second_text}.{int((ended - second) * 1000):03d}Z","client":"{client}"'
                f'{_TLS.get(tls) or _named("tls", tls)}{asked},"status":{status},"bytes":{sent}'
                f',"duration_ms":{ms[int(duration * 1e6)]},"cache":"{outcome}"'
            )
            if encoding:
                line += _ENCODINGS.get(encoding) or _named("encoding", encoding)
            if origin:
                line += f'{_named("origin", origin)},"origin_ms":{ms[int(origin_s * 1e6)]}'
            if request_id:
                line += _named("request_id", request_id)
            if fault:
                line += _named("fault", fault)
            if detail:
                line += _named("detail", detail)
            add(line + "}\n")
        return lines

    def _asked(self, head: RequestHead | bytes | None) -> str:
        if head is None:
            return ""
        if isinstance(head, bytes):
            method, _, rest = head.partition(b" ")
            target = rest.partition(b" ")[0]
            asked = f',"method":{json_text(method)}'
            return asked + f',"target":{json_text(target)}' if target else asked
        escaped = self._escaped
        agent = head.index.get(b"user-agent")
        referer = head.index.get(b"referer")
        asked = (
            f',"method":{escaped[head.method]},"host":{escaped[head.authority]},"target":{escaped[head.target]}'
            f',"protocol":"{_PROTOCOLS.get(head.version, "HTTP")}"'
        )
        if agent is not None:
            asked += f',"agent":{escaped[agent]}'
        if referer is not None:
            asked += f',"referer":{escaped[referer]}'
        return asked


class CombinedFormat:
    """
    Apache's and nginx's ``combined``: ``client - - [time] "request" status bytes "referer" "agent"``.

    It has no room for the cache, the origin or a fault; who wants those takes JSON.
    """

    __slots__ = ("_escaped", "_second", "_second_text")

    def __init__(self) -> None:
        self._escaped = _Escaped(combined_text)
        self._second = -1
        self._second_text = ""

    def lines(self, entries: list[Entry]) -> list[str]:
        """Return one line per entry."""
        lines: list[str] = []
        heads: dict[int, tuple[str, str]] = {}
        for ended, client, _tls, head, status, sent, *_ in entries:
            second = int(ended)
            if second != self._second:
                self._second = second
                then = datetime.fromtimestamp(second, UTC)
                self._second_text = f"{then.day:02d}/{_MONTHS[then.month - 1]}/{then:%Y:%H:%M:%S} +0000"
            asked = heads.get(id(head))
            if asked is None:
                asked = heads[id(head)] = self._asked(head)
            request, rest = asked
            lines.append(f'{client or "-"} - - [{self._second_text}] "{request}" {status:03d} {sent} {rest}\n')
        return lines

    def _asked(self, head: RequestHead | bytes | None) -> tuple[str, str]:
        if head is None or isinstance(head, bytes):
            return "-" if head is None else combined_text(head), '"-" "-"'
        escaped = self._escaped
        request = f"{escaped[head.method]} {escaped[head.target]} {_PROTOCOLS.get(head.version, 'HTTP')}"
        referer = head.index.get(b"referer", b"-")
        agent = head.index.get(b"user-agent", b"-")
        return request, f'"{escaped[referer]}" "{escaped[agent]}"'


def combined_text(raw: bytes) -> str:
    r"""Return *raw* with everything but printable ASCII, and quote and backslash, as ``\xHH`` or ``\"``."""
    return raw.decode("latin-1").translate(_COMBINED)


def _named(name: str, value: str) -> str:
    return f',"{name}":{encode_basestring_ascii(value)}' if value else ""


_COMBINED: Final = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0x100))},
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}
_ENCODINGS: Final = {coding: f',"encoding":"{coding}"' for coding in ("gzip", "br", "zstd")}
_TLS: Final = {version: f',"tls":"{version}"' for version in ("TLSv1.2", "TLSv1.3")}
_PROTOCOLS: Final = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2.0", 30: "HTTP/3.0"}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
