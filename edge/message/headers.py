"""
What a header field is: its alphabet, its lists, and which fields end with this connection.

Decides which bytes may stand in a name or a value, how a comma list is cut, and which fields a proxy must not
pass on. Does not know what any single field means, nor which protocol carried it.

Invariant: nothing here raises on bytes a peer chose; what is not well formed is simply not in the answer.
Source: RFC 9110 §5.5, §5.6, §7.6.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.message.head import Field

HOP_BY_HOP: frozenset[bytes] = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""
Fields that concern one connection only. RFC 9110 §7.6.1 names ``connection``, ``proxy-connection``,
``keep-alive``, ``te``, ``transfer-encoding`` and ``upgrade``; ``trailer`` describes a framing that we make anew, and
the ``proxy-`` fields are said to the nearest proxy, which is us (RFC 9111 §3.1 keeps them out of a store as well).
"""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_QUOTED = rb'"(?>(?:[^"\\]|\\.)*)"'
_MEMBER = re.compile(rb'(?>(?:[^",]|' + _QUOTED + rb")+)", re.DOTALL)
# As far as every quote is closed. Atomic, and cut in two steps, so that no value costs more than its length.
_CLOSED = re.compile(rb'(?>(?:[^"]|' + _QUOTED + rb")*)", re.DOTALL)


def is_token(value: bytes) -> bool:
    """Return whether *value* is an RFC 9110 §5.6.2 token: at least one byte, all of them ``tchar``."""
    return _TOKEN.fullmatch(value) is not None


def is_field_value(value: bytes) -> bool:
    """Return whether *value* may be written on a field line: no control bytes, no outer white space."""
    return _VALUE.fullmatch(value) is not None and value == value.strip(b" \t")


def members(value: bytes | None) -> list[bytes]:
    """
    Cut a comma list (RFC 9110 §5.6.1) into its members, as sent, without white space around them.

    Commas inside quoted strings do not cut, but a quote that is never closed hides nothing: what follows it is cut at
    every comma. Empty members are dropped. None gives no members.
    """
    if not value:
        return []
    if b'"' not in value:
        found = value.split(b",")
    else:
        closed = _CLOSED.match(value)
        end = closed.end() if closed else 0
        found = _MEMBER.findall(value, 0, end) + value[end:].split(b",")
    return [member for raw in found if (member := raw.strip(b" \t"))]


def tokens(value: bytes | None) -> list[bytes]:
    """Cut a comma list like :func:`members`, in lower case: for lists whose members are names."""
    return members(value.lower()) if value else []


def end_to_end(fields: list[Field], index: dict[bytes, bytes]) -> list[Field]:
    """
    Return the fields that may be passed on: not hop-by-hop, and not named by ``Connection``.

    Args:
        fields: names in lower case.
        index: of the same fields, as a head carries it; only ``connection`` is looked at.

    Source: RFC 9110 §7.6.1.
    """
    named = index.get(b"connection")
    dropped = HOP_BY_HOP if named is None else HOP_BY_HOP.union(tokens(named))
    return [entry for entry in fields if entry[0] not in dropped]
