"""
Asking somebody else whether a request may pass: what is asked, and what the answer means.

The service hears the request's head, without a body, conditions or a range: it is asked about the request, not for the thing.
2xx means yes; a redirect or a 4xx is what the client gets instead; all else is the service's own failure, and nobody passes.

Does not know how it is asked (:mod:`edge.worker.admitting`).

Source: nginx ngx_http_auth_request_module; Traefik ForwardAuth and Caddy forward_auth for the names of the fields.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from edge.message.cache_control import parse_cache_control
from edge.message.head import Framing, ReplyHead, RequestHead
from edge.message.headers import end_to_end

if TYPE_CHECKING:
    from edge.message.head import Field

BODY_BYTES: Final = 64 * 1024
"""Of a refusal's body; a longer one is cut from the reply, not in it: the client gets the status and fields alone."""

_NOT_ASKED: Final = frozenset(
    {
        b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range",
        b"upgrade", b"expect", b"content-type", b"content-encoding", b"accept-encoding", b"te",
        b"x-forwarded-method", b"x-forwarded-uri",
    }
)  # fmt: skip
"""``accept-encoding``: what it answers goes to the client as it is, and is looked at by nobody who could decode it."""


def question(head: RequestHead, path: bytes) -> RequestHead:
    """Make the request that asks whether *head* may pass."""
    kept = end_to_end(head.fields, head.index)
    fields = [entry for entry in kept if entry[0] not in _NOT_ASKED and entry[0].replace(b"_", b"-") not in _NOT_ASKED]
    return RequestHead(b"GET", head.scheme, head.authority, path, fields)


def about(head: RequestHead) -> list[Field]:
    """Return the fields that name the request in question. They go last, behind all that a client could say."""
    return [(b"x-forwarded-method", head.method), (b"x-forwarded-uri", head.target)]


def question_key(head: RequestHead, address: str, only: frozenset[bytes] | None, *, whole_host: bool = False) -> bytes:
    """
    Return what two requests have in common if they are answered alike.

    What is asked for always counts, unless the operator says that it does not. The client's address stops counting only where a
    field that the service goes by says who asks: who sends none of them has a yes of their own, and nobody else's.

    Args:
        head: the request.
        address: the client's.
        only: the header fields that the service goes by; None: all that it hears. ``x-forwarded-for`` is the address.
        whole_host: a yes to one method and target is one to all.
    """
    digest = blake2b(digest_size=16)
    asked_for = [] if whole_host else [head.method, head.target]
    if only is None:
        fields = question(head, b"/").fields
    else:
        fields = sorted(entry for entry in head.fields if entry[0] in only and entry[0] != b"x-forwarded-for")
    is_of_one = only is None or not fields or b"x-forwarded-for" in only
    whose = address.encode("utf-8", "replace") if is_of_one else b""
    parts: list[bytes] = [head.scheme, head.authority, *asked_for, whose]
    for name, value in fields:
        parts += [name, value]
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def is_yes(reply: ReplyHead) -> bool:
    """Whether the request may pass."""
    return 200 <= reply.status < 300


def is_no(reply: ReplyHead) -> bool:
    """Whether it may not, and the reply is for the client."""
    return 300 <= reply.status < 500 and reply.status != 304


def may_be_kept(reply: ReplyHead) -> bool:
    """Whether the service lets its answer be used again."""
    said = parse_cache_control(reply.get(b"cache-control"))
    return not (said.no_store or said.no_cache)


def copied(reply: ReplyHead, names: frozenset[bytes]) -> tuple[Field, ...]:
    """Return the fields of the answer that the origin is told."""
    return tuple(entry for entry in end_to_end(reply.fields, reply.index) if entry[0] in names)


def refusal(reply: ReplyHead, body: bytes | None) -> tuple[ReplyHead, bytes]:
    """
    Make the reply for the client of the service's refusal. It is about this client, and nobody keeps it.

    Args:
        reply: the service's.
        body: of it; None: it was too long.
    """
    fields = [entry for entry in end_to_end(reply.fields, reply.index) if entry[0] not in {b"age", b"content-length"}]
    if body is None:
        fields = [entry for entry in fields if entry[0] not in {b"content-type", b"content-encoding"}]
    if reply.get(b"cache-control") is None:
        fields.append((b"cache-control", b"no-store"))
    body = body or b""
    return ReplyHead(reply.status, fields, reply.reason, framing=Framing.LENGTH, length=len(body)), body
