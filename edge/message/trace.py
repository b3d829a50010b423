"""
Following one request through many services: what ``traceparent`` says, and what is said on.

Decides whether a field is a trace context and what the next one looks like: the same trace, with our own id as the parent
of what comes. Does not know who made the ids. What is not well formed is as good as not there; a later version is
understood as far as version 00 goes.

Source: W3C Trace Context, level 1, §3.2 (traceparent) and §3.3 (tracestate goes with it, and only with it).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from edge.message.head import Field

_FIELD: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16
SAMPLED: Final = 1
_KNOWN_FLAGS: Final = SAMPLED


class Context(NamedTuple):
    """
    A place in a trace.

    Attributes:
        trace_id: 32 hexadecimal digits, not all zero.
        span_id: 16, of whoever speaks.
        flags: what version 00 knows of them: bit 0: it is recorded.
        begun: nobody had begun the trace before us.
    """

    trace_id: bytes
    span_id: bytes
    flags: int
    begun: bool = False

    def field(self) -> bytes:
        """Return it as ``traceparent`` says it."""
        return b"00-%b-%b-%02x" % (self.trace_id, self.span_id, self.flags)


def read(value: bytes | None) -> Context | None:
    """Return what a ``traceparent`` says; None if it says nothing that can be gone on with."""
    found = None if value is None else _FIELD.fullmatch(value)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Context(trace_id, span_id, int(flags, 16) & _KNOWN_FLAGS)


def go_on(value: bytes | None, fresh: bytes, *, sampled: bool) -> Context:
    """
    Return our own place in the trace that *value* names, or in a new one.

    Args:
        value: the ``traceparent`` that came with the request.
        fresh: 24 random bytes.
        sampled: a trace that begins here is to be recorded.
    """
    before = read(value)
    span_id = (fresh[16:24] if any(fresh[16:24]) else b"\1" * 8).hex().encode()
    if before is None:
        trace_id = (fresh[:16] if any(fresh[:16]) else b"\1" * 16).hex().encode()
        return Context(trace_id, span_id, SAMPLED if sampled else 0, begun=True)
    return Context(before.trace_id, span_id, before.flags)


def continued(fields: list[Field], context: Context) -> list[Field]:
    """Return *fields* with our ``traceparent`` in the place of whoever's; ``tracestate`` belongs to a trace that goes on."""
    dropped = {b"traceparent", b"tracestate"} if context.begun else {b"traceparent"}
    return [*(entry for entry in fields if entry[0] not in dropped), (b"traceparent", context.field())]
