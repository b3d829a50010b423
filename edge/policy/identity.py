"""
Who somebody is, once that has been shown: a name, what is claimed of them, and the header fields an origin is told.

Decides how a claim becomes the value of a header field, and takes fields of the same names off what clients send: whoever
could write them could be anybody. A name that an origin's CGI would fold into one of them (``x_user``) is the same name.

Invariant: every byte of a value that is made here is printable ASCII, whatever a certificate or a token said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edge.message.head import Field

_PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_LONGEST: Final = 4096
"""A longer value is not told: an origin would refuse the whole request."""


@dataclass(slots=True)
class Identity:
    """
    Somebody.

    Attributes:
        name: what they are called, in the eyes of whoever showed it; limits count by it.
        claims: what is said of them.
        fields: what the origin is told.
    """

    name: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    fields: tuple[Field, ...] = ()


def field_value(value: object) -> bytes | None:
    """
    Return *value* as a header field's; None if there is nothing to tell, or too much.

    Text stays as it is, but for what is not printable ASCII, and ``%``, which are percent-encoded as UTF-8. All else is JSON.
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    made = quote(text, safe=_PRINTABLE, errors="replace").strip(" ").encode("ascii")
    return made if made and len(made) <= _LONGEST else None


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name, or by the way to it: ``realm_access.roles``; None if there is none."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for step in name.split("."):
        if not isinstance(found, dict) or step not in found:
            return None
        found = found[step]
    return found


def has(claims: Mapping[str, Any], name: str, accepted: Collection[str]) -> bool:
    """Whether a claim is, or holds, one of *accepted*. A text is also taken as a list of words, as ``scope`` is one."""
    found = claim(claims, name)
    if isinstance(found, str):
        return found in accepted or not set(found.split(" ")).isdisjoint(accepted)
    if isinstance(found, list):
        return any(isinstance(one, str) and one in accepted for one in found)
    return isinstance(found, (bool, int)) and json.dumps(found) in accepted


def fields_of(claims: Mapping[str, Any], names: Mapping[bytes, str]) -> tuple[Field, ...]:
    """Return the fields that tell claims, by field name; what is not claimed is not told."""
    made = ((name, field_value(claim(claims, said))) for name, said in names.items())
    return tuple((name, value) for name, value in made if value is not None)


def without(fields: list[Field], names: frozenset[bytes]) -> list[Field]:
    """Return *fields* without those of *names*, however they are spelled; the same list if there are none."""
    kept = [
        entry for entry in fields if entry[0] not in names and (b"_" not in entry[0] or _folded(entry[0]) not in names)
    ]
    return kept if len(kept) < len(fields) else fields


def _folded(name: bytes) -> bytes:
    return name.replace(b"_", b"-")
