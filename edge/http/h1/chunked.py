"""
The chunked coding, undone.

Decides where chunks, the last chunk and the trailers end. Does not hold data back: whatever part of a chunk has come is
given on at once.

States in the order a body walks them, and where the next byte stands in each:
    SIZE      at the first digit of a chunk's size line
    DATA      inside a chunk, ``_left`` bytes to go
    DATA_END  behind a chunk's last byte, before its CRLF
    TRAILERS  behind the last chunk's size line
    DONE      behind the empty line

Strict: sizes are 1 to 16 hexadecimal digits and nothing else; line ends are CRLF; no white space before an extension.
Extensions are dropped, and their bytes are bounded for one line and for the body, since they cost us and carry
nothing. Invariant: however the input is cut, the body, the trailers and the fault are the same; only how much of the body is
given before a fault may differ.
Source: RFC 9112 §7.1.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from edge.http.h1.fields import find_bare_lf, is_well_formed, split

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.errors import Fault
    from edge.message.head import Field

LINE_BYTES = 256
"""Of one size line with its extensions, which nobody uses; Go's net/http takes 4 KiB."""

EXTENSION_BYTES = 16 * 1024
"""Of all extensions of a body: what Go allows beyond the body's own size since CVE-2023-39326."""

TRAILER_BYTES = 8 * 1024
TRAILER_COUNT = 32

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(;[\t\x20-\x7e\x80-\xff]*+)?\r\n")

# Fields that decide how a message is read, where it goes or who may: too late, or a second opinion (RFC 9110 §6.5.1).
_NOT_A_TRAILER = frozenset(
    {
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"max-forwards",
        b"range",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


class State(Enum):
    """Where in the coding the next byte stands."""

    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILERS = "trailers"
    DONE = "done"


SIZE: Final = State.SIZE
DATA: Final = State.DATA
DATA_END: Final = State.DATA_END
TRAILERS: Final = State.TRAILERS
DONE: Final = State.DONE


class ChunkedDecoder:
    """
    Undoes the coding of one body.

    Attributes:
        done: the body and its trailers are complete.
        rest: (when done) bytes that came behind it.
        trailers: (when done) those that may be passed on; the others are dropped.
        total: bytes of body so far.
    """

    __slots__ = (
        "_announced",
        "_extension_bytes",
        "_fault",
        "_held",
        "_left",
        "_most",
        "_state",
        "done",
        "rest",
        "total",
        "trailers",
    )

    def __init__(self, fault: Callable[[str], Fault], most: int | None = None) -> None:
        """
        Begin a body.

        Args:
            fault: makes what is raised, from a detail: a client's fault, or an origin's.
            most: bytes of body; a chunk that would bring more is refused (413) as soon as it says so.
        """
        self._fault = fault
        self._most = most
        self._announced = 0
        self._state = SIZE
        self._held = b""  # the beginning of a line whose end has not come; at most LINE_BYTES, or TRAILER_BYTES
        self._left = 0
        self._extension_bytes = 0
        self.done = False
        self.rest = b""
        self.total = 0
        self.trailers: list[Field] = []

    def decode(self, data: bytes) -> bytes:
        """Return the body bytes in *data*, those of several chunks joined."""
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at, size = 0, len(data)
        state, left = self._state, self._left
        while at < size:
            if state is DATA:
                piece = data[at : at + left]
                pieces.append(piece)
                at += len(piece)
                left -= len(piece)
                if not left:
                    state = DATA_END
            elif state is DATA_END:
                if not data.startswith(b"\r\n", at):
                    if data[at:] == b"\r":
                        break
                    raise self._fault(f"chunk not followed by CRLF but {data[at : at + 8]!r}")
                at += 2
                state = SIZE
            elif state is SIZE:
                line = _SIZE_LINE.match(data, at)
                if line is None:
                    self._check_partial_size(data, at)
                    break
                left = self._size(line)
                at = line.end()
                end = at + left
                if left and data.startswith(b"\r\n", end):  # all of it is here: small chunks come by the thousand
                    pieces.append(data[at:end])
                    at = end + 2
                else:
                    state = DATA if left else TRAILERS
            else:
                at = self._read_trailers(data, at)
                if self.done:
                    state = DONE
                    self.rest = data[at:]
                break
        if state is not DONE:
            self._held = data[at:]
        self._state, self._left = state, left
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.total += len(body)
        return body

    def limit(self, most: int) -> None:
        """Refuse, from the next chunk on, what would bring more than *most* bytes of body."""
        self._most = most if self._most is None else min(self._most, most)

    def most_left(self) -> int | None:
        """Return None: a chunked body does not say."""
        return None

    def _size(self, line: re.Match[bytes]) -> int:
        """Read a complete size line and count what it holds beside the size."""
        if line.end() - line.start() > LINE_BYTES + 2:
            raise self._fault("chunk size line too long")
        digits, extension = line.groups()
        if extension is not None:
            self._extension_bytes += len(extension)
            if self._extension_bytes > EXTENSION_BYTES:
                raise self._fault("chunk extensions too long")
        size = int(digits, 16)
        self._announced += size
        if self._most is not None and self._announced > self._most:
            fault = self._fault("chunked body too long")
            fault.reply = 413
            raise fault
        return size

    def _check_partial_size(self, data: bytes, at: int) -> None:
        """Refuse a size line that no further byte can make good."""
        line = data[at : at + LINE_BYTES + 2]
        if b"\n" in line or len(line) > LINE_BYTES + 1:
            raise self._fault(f"chunk size {line[:40]!r}")

    def _read_trailers(self, data: bytes, at: int) -> int:
        """Read the fields behind the last chunk if they have all come; return where they end."""
        if data.startswith(b"\r\n", at):
            self.done = True
            return at + 2
        end = data.find(b"\r\n\r\n", at)
        if (end if end >= 0 else len(data) - 3) - at > TRAILER_BYTES:
            raise self._fault("trailers too long")
        if end < 0:
            if find_bare_lf(data, at):
                raise self._fault("bare LF in trailers")
            return at
        if not is_well_formed(data, at, end + 2):
            raise self._fault(f"trailers {data[at : at + 80]!r}")
        fields = split(data[at : end + 2])
        if len(fields) > TRAILER_COUNT:
            raise self._fault(f"{len(fields)} trailers")
        self.trailers = [entry for entry in fields if entry[0] not in _NOT_A_TRAILER]
        self.done = True
        return end + 4

    def __repr__(self) -> str:
        return f"<ChunkedDecoder {self._state.value}, {self.total} bytes so far>"
