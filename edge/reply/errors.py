"""
Replies the edge makes itself: refusals, failures, and the way to HTTPS.

Decides what a person or a program reads when we answer in an origin's place: a status, one sentence that says what they
can do, and the request's id, by which an operator finds the log line. Never what went wrong inside, nor which
software this is. Does not know why; the status and, for a failed origin, the RFC 9209 word come from the fault.

The form follows Accept: a page for browsers, RFC 9457 for programs that ask for JSON, plain text for all others
(``curl``, images, scripts), who would have to look at a page's source.

Invariant: nothing a client sent is in a body unescaped, and of all it sent only the id can be (from a trusted proxy).
The reply is never stored and runs no script.

Source: RFC 9110 §12.5.1 (Accept), §15; RFC 9457 (problem details).
"""

from __future__ import annotations

import html
import json
import re
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from edge.message.dates import format_date
from edge.message.head import Field, Framing, ReplyHead
from edge.message.headers import members
from edge.reply import proxy_status

if TYPE_CHECKING:
    from edge.reply.pages import Pages

HTML, PROBLEM, JSON, PLAIN = b"text/html", b"application/problem+json", b"application/json", b"text/plain"

_OFFERED = (HTML, PROBLEM, JSON, PLAIN)
_PAGE = Template(Path(__file__).with_name("error.html").read_text(encoding="utf-8"))

_SENTENCES = {
    400: "The request could not be understood.",
    401: "You need to sign in to see this.",
    403: "You may not see this.",
    404: "There is nothing at this address.",
    405: "This cannot be done at this address.",
    406: "There is no form of this that your program accepts.",
    408: "The request took too long to arrive. Please try again.",
    409: "The request does not fit what is here now.",
    411: "The request has to say how long it is.",
    412: "What you wanted to change has changed in the meantime.",
    413: "What you sent is larger than is accepted here.",
    414: "The address is longer than is accepted here.",
    416: "The part you asked for lies outside of what is here.",
    417: "The request expects something that cannot be done here.",
    421: "The request was sent to the wrong server. Please try again.",
    426: "The request has to use another protocol.",
    429: "There were too many requests in a short time. Please try again a little later.",
    431: "The request's header is larger than is accepted here. Deleting this site's cookies may help.",
    500: "Something went wrong on our side. It is not your fault; please try again.",
    501: "The request asks for something that is not supported here.",
    502: "The service behind this address did not give a usable answer. Please try again in a moment.",
    503: "The service is not available at the moment. Please try again in a moment.",
    504: "The service behind this address took too long to answer. Please try again in a moment.",
    505: "This version of HTTP is not supported.",
    508: "The request came back to where it had already been.",
}
_TITLES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    500: "Something went wrong",
    502: "No usable answer",
    503: "Not available right now",
    504: "No answer in time",
}
"""For people; the status line keeps the registered phrase. Where Python's phrases lag behind RFC 9110, RFC 9110's."""

_LASTING: list[Field] = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
]
_LASTING_OF_PAGES: list[Field] = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
"""What an operator's page may load is the operator's business."""

_QUALITY = re.compile(rb"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)
_MEMORABLE = 256  # bytes; browsers' Accept is under 200


def error_reply(
    status: int,
    *,
    now_wall: float,
    accept: bytes | None = None,
    request_id: str | None = None,
    proxy_error: str | None = None,
    received_status: int | None = None,
    retry_after_s: int | None = None,
    extra: tuple[Field, ...] = (),
    to_head: bool = False,
    pages: Pages | None = None,
) -> tuple[ReplyHead, bytes]:
    """
    Make the reply for something that will not be answered.

    Args:
        status: 4xx or 5xx.
        now_wall: for Date.
        accept: the request's Accept; None if it has none or never was understood.
        request_id: shown, so that a person can quote it.
        proxy_error: the fault's word when an origin is to blame; adds ``Proxy-Status``.
        received_status: what the origin answered, if it did; goes into ``Proxy-Status``.
        retry_after_s: for 429 and 503.
        extra: more fields, such as ``allow`` or our ``cache-status``.
        to_head: the request was HEAD: the same head, no body.
        pages: the operator's own, if there are any.

    Returns:
        The head, and the body (empty for HEAD).
    """
    kind = choose(accept)
    page = None if pages is None else pages.get(status)
    if page is not None and (page.is_json or kind not in {PROBLEM, JSON}):
        body = page.body
        fields = [(b"date", format_date(now_wall)), (b"content-type", page.content_type), *_LASTING_OF_PAGES]
    else:
        body = _BODIES[kind](status, request_id)
        fields = [
            (b"date", format_date(now_wall)),
            (b"content-type", kind + b"; charset=utf-8" if kind in {HTML, PLAIN} else kind),
            *_LASTING,
        ]
    if retry_after_s is not None:
        fields.append((b"retry-after", b"%d" % retry_after_s))
    fields += extra
    if proxy_error is not None:
        fields.append((b"proxy-status", proxy_status.failed(proxy_error, received_status=received_status)))
    if to_head:
        return ReplyHead(status, fields, framing=Framing.NONE, length=len(body)), b""
    return ReplyHead(status, fields, framing=Framing.LENGTH, length=len(body)), body


def unsatisfiable_reply(
    length: int,
    *,
    now_wall: float,
    accept: bytes | None = None,
    request_id: str | None = None,
    extra: tuple[Field, ...] = (),
    pages: Pages | None = None,
) -> tuple[ReplyHead, bytes]:
    """Make the 416 that tells how long the representation really is (RFC 9110 §15.5.17)."""
    content_range = (b"content-range", b"bytes */%d" % length)
    return error_reply(
        416, now_wall=now_wall, accept=accept, request_id=request_id, extra=(content_range, *extra), pages=pages
    )


def redirect_reply(
    host: bytes,
    target: bytes,
    *,
    now_wall: float,
    port: int = 443,
    status: int = 308,
    to_head: bool = False,
) -> tuple[ReplyHead, bytes]:
    """
    Send a plain-HTTP client to HTTPS, to the same host and target.

    Args:
        host: without port, as :attr:`edge.message.head.RequestHead.host` gives it.
        target: origin-form, raw; ``*`` becomes ``/``.
        now_wall: for Date.
        port: where HTTPS is spoken; said only if it is not the usual one.
        status: 308 keeps method and body (RFC 9110 §15.4.9).
        to_head: the request was HEAD.
    """
    authority = host if port == 443 else b"%b:%d" % (host, port)
    location = b"https://" + authority + (target if target.startswith(b"/") else b"/")
    fields = [
        (b"date", format_date(now_wall)),
        (b"location", location),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"x-content-type-options", b"nosniff"),
    ]
    body = b"This is at " + location + b"\n"
    if to_head:
        return ReplyHead(status, fields, framing=Framing.NONE, length=len(body)), b""
    return ReplyHead(status, fields, framing=Framing.LENGTH, length=len(body)), body


def choose(accept: bytes | None) -> bytes:
    """
    Return the media type of an error's body.

    The client's best-loved of what we have. Only a type it names counts as asked for; one it takes merely because it takes
    everything gets plain text. A client that accepts none of it gets plain text too: better than silence.
    """
    if accept is None:
        return PLAIN
    return _remembered(accept) if len(accept) <= _MEMORABLE else _choose(accept)


def _choose(accept: bytes) -> bytes:
    best, kind = (0.0, False), PLAIN
    said = _parse(accept)
    for offered in _OFFERED:
        named = said.get(offered)
        taken = named if named is not None else said.get(offered.partition(b"/")[0] + b"/*", said.get(b"*/*", 0.0))
        asked_for = named is not None or offered == PLAIN
        if taken and asked_for and (taken, named is not None) > best:
            best, kind = (taken, named is not None), offered
    return kind


_remembered = lru_cache(maxsize=256)(_choose)


def _parse(accept: bytes) -> dict[bytes, float]:
    """Read media ranges and their qualities; other parameters are ignored, what cannot be read is not wanted."""
    said: dict[bytes, float] = {}
    for member in members(accept):
        kind, *parameters = member.split(b";")
        quality = 1.0
        for parameter in parameters:
            if parameter.strip(b" \t")[:2].lower() == b"q=":
                match = _QUALITY.fullmatch(parameter)
                quality = float(match[1]) if match else 0.0
        said.setdefault(kind.strip(b" \t").lower(), quality)
    return said


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _title(status: int) -> str:
    return _TITLES.get(status) or _phrase(status)


def _sentence(status: int) -> str:
    fallback = _SENTENCES[400] if status < 500 else _SENTENCES[500]
    return _SENTENCES.get(status, fallback)


def _page(status: int, request_id: str | None) -> bytes:
    footer = ""
    if request_id:
        footer = f"<footer>Request <code>{html.escape(request_id)}</code></footer>\n"
    page = _PAGE.substitute(status=status, title=_title(status), sentence=_sentence(status), footer=footer)
    return page.encode()


def _plain(status: int, request_id: str | None) -> bytes:
    named = f"Request {_printable(request_id)}\n" if request_id else ""
    return f"{status} {_title(status)}\n{_sentence(status)}\n{named}".encode()


def _problem(status: int, request_id: str | None) -> bytes:
    said: dict[str, str | int] = {
        "type": "about:blank",
        "title": _title(status),
        "status": status,
        "detail": _sentence(status),
    }
    if request_id:
        said["request_id"] = request_id
    return json.dumps(said).encode() + b"\n"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


_BODIES = {HTML: _page, PROBLEM: _problem, JSON: _problem, PLAIN: _plain}
