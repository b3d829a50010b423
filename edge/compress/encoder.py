"""
Content codings made: whole bodies, and bodies that are still arriving.

Decides levels' meaning, window sizes and how much work a coding is. Does not know threads or the event loop: it says
which work is heavy, and whoever has a loop keeps that work off it. All three libraries let other threads run while they
work (the longest pause seen in one was 0.2 ms), and an encoder may be used from any thread, one call at a time.

States of an :class:`Encoder`: *open*, where it takes bytes, and *finished*, where it takes nothing.
Invariant: everything returned, in order, decodes to everything fed; after :meth:`Encoder.flush` all that was fed
can be decoded from what was returned, so that a slow origin's lines are never held back.

Windows are small where the body's length is unknown, because such a stream may live for hours (server-sent
events): about 60 KiB of memory for gzip, 0.6 MiB for br, 0.7 MiB for zstd, against 1.5 and 2.7 MiB with the
libraries' defaults; up to 64 KB the body is no larger for it, a megabyte is 5 to 8 % larger. gzip is zlib-ng's: at
level 6 the same size as zlib's in about half the time; isal was two to four times faster still but 5 to 25 %
larger, which costs more over a network than it saves here (``bench/micro/test_encoder.py``).

Source: RFC 1952, RFC 7932 §9.1, RFC 8878, RFC 9659 §3 (no zstd window above 8 MiB).
"""

from __future__ import annotations

from typing import Protocol

import brotli
import zstandard
from zlib_ng import zlib_ng

GZIP, BR, ZSTD = b"gzip", b"br", b"zstd"

ENCODINGS = (ZSTD, BR, GZIP)
"""What this room can make, best first where nothing else decides."""

LEVELS = {GZIP: 6, BR: 5, ZSTD: 6}
"""About equal in time, 60 to 130 µs for 16 KiB of text: what one miss may cost."""

BEST_LEVELS = {GZIP: 9, BR: 11, ZSTD: 19}
"""For whoever has time: up to 740 ns for each byte."""

_HEAVY_NS = 300_000
_NS_PER_BYTE: dict[bytes, tuple[float, ...]] = {
    GZIP: (1, 2, 4, 5, 6, 7, 9, 15, 18, 18),
    BR: (2, 3, 5, 6, 9, 13, 14, 20, 30, 170, 280, 740),
    ZSTD: (3, 2, 2, 3, 3, 6, 8, 10, 11, 13, 15, 36, 37, 47, 64, 72, 104, 110, 122, 212, 240, 240, 288),
}
"""By level, from 0 (zstd: its default). Measured on 64 KiB of markup and source, rounded up."""

HEAVY_BYTES = {coding: int(_HEAVY_NS / _NS_PER_BYTE[coding][level]) for coding, level in LEVELS.items()}
"""
From here on a coding at the usual level takes more than 0.3 ms, several times what moving it to a thread costs:
33 KB for gzip, 23 KB for br, 37 KB for zstd.
"""

_UNKNOWN_BYTES = 64 * 1024
_MOST_WINDOW_BITS = {BR: 22, ZSTD: 23}


class Encoder(Protocol):
    """One body on its way through one coding."""

    def feed(self, data: bytes | memoryview) -> bytes:
        """Take more of the body; return what is ready, often nothing."""
        ...

    def flush(self) -> bytes:
        """Return what makes everything fed so far decodable. Empty if that is already so."""
        ...

    def finish(self) -> bytes:
        """Return the end. Nothing may be fed afterwards."""
        ...


def encoder(encoding: bytes, level: int, length: int | None = None) -> Encoder:
    """
    Begin to code a body that arrives in parts.

    Args:
        encoding: one of :data:`ENCODINGS`.
        level: within the coding's own scale.
        length: of the body, if known: chooses the window. A wrong one costs size, never correctness.
    """
    if encoding == GZIP:
        return _Gzip(level)
    if encoding == BR:
        return _Brotli(level, length)
    if encoding == ZSTD:
        return _Zstd(level, length)
    raise AssertionError(encoding)


def compress_whole(encoding: bytes, data: bytes | memoryview, level: int) -> bytes:
    """Code a body that is all here. Same bytes in, same bytes out: no times, no names."""
    if encoding == ZSTD:
        return zstandard.ZstdCompressor(compression_params=_zstd_parameters(level, len(data))).compress(data)
    coding = encoder(encoding, level, len(data))
    return coding.feed(data) + coding.finish()


def is_heavy(encoding: bytes, level: int, length: int) -> bool:
    """Return whether coding *length* bytes takes so long (0.3 ms) that an event loop should not wait for it."""
    known = _NS_PER_BYTE[encoding]
    return length * known[min(max(level, 0), len(known) - 1)] > _HEAVY_NS


class _Gzip:
    """zlib-ng behind a gzip head without name or time."""

    __slots__ = ("_coding", "_pending")

    def __init__(self, level: int) -> None:
        self._coding = zlib_ng.compressobj(level, zlib_ng.DEFLATED, 31)
        self._pending = False

    def feed(self, data: bytes | memoryview) -> bytes:
        self._pending = self._pending or len(data) > 0
        return self._coding.compress(data)

    def flush(self) -> bytes:
        if not self._pending:
            return b""
        self._pending = False
        return self._coding.flush(zlib_ng.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._coding.flush(zlib_ng.Z_FINISH)


class _Brotli:
    """brotli; its window starts at 2¹⁰ and is never deeper than the body."""

    __slots__ = ("_coding", "_pending")

    def __init__(self, level: int, length: int | None) -> None:
        # 16 bytes of a window are the format's own (RFC 7932 §9.1).
        bits = ((_UNKNOWN_BYTES if length is None else length + 16) - 1).bit_length()
        window = min(max(bits, 10), _MOST_WINDOW_BITS[BR])
        self._coding = brotli.Compressor(quality=level, lgwin=window)
        self._pending = False

    def feed(self, data: bytes | memoryview) -> bytes:
        self._pending = self._pending or len(data) > 0
        ready: bytes = self._coding.process(data)
        return ready

    def flush(self) -> bytes:
        if not self._pending:
            return b""
        self._pending = False
        ready: bytes = self._coding.flush()
        return ready

    def finish(self) -> bytes:
        ready: bytes = self._coding.finish()
        return ready


class _Zstd:
    """zstandard; one frame, no checksum (TLS and the length have theirs)."""

    __slots__ = ("_coding", "_pending")

    def __init__(self, level: int, length: int | None) -> None:
        parameters = _zstd_parameters(level, _UNKNOWN_BYTES if length is None else length)
        self._coding = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        self._pending = False

    def feed(self, data: bytes | memoryview) -> bytes:
        self._pending = self._pending or len(data) > 0
        return self._coding.compress(data)

    def flush(self) -> bytes:
        if not self._pending:
            return b""
        self._pending = False
        return self._coding.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._coding.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


def _zstd_parameters(level: int, length: int) -> zstandard.ZstdCompressionParameters:
    """Let the library fit its tables to *length*, and hold the window to what browsers must accept."""
    fitted = zstandard.ZstdCompressionParameters.from_level(level, source_size=max(length, 1))
    if fitted.window_log <= _MOST_WINDOW_BITS[ZSTD]:
        return fitted
    return zstandard.ZstdCompressionParameters.from_level(level, source_size=length, window_log=_MOST_WINDOW_BITS[ZSTD])
