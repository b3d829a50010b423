"""
Every parser that reads what strangers write, each as one claim about any bytes: a value, or one clear fault; whatever the cut, the same.

A claim takes bytes and returns, or raises: AssertionError, or whatever the parser should not have raised. Property tests, the
corpus and guided fuzzing (``guided.py``) all call the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from edge.config import parse
from edge.errors import ClientFault, Fault
from edge.http.h1.chunked import ChunkedDecoder
from edge.http.h1.target import canonical_authority
from edge.message.cache_control import FOREVER, parse_cache_control
from edge.message.dates import format_date, parse_date
from edge.message.encodings import negotiate
from edge.message.proxy_protocol import HEADER_BYTES, NOWHERE, Header, read_header, write_header
from edge.message.ranges import UNSATISFIABLE, parse_range
from edge.message.validators import ANY, is_etag, parse_etags
from edge.policy import networks, passwords, tokens
from edge.tls.hello import NEED_DATA, Hello, NotTls, read_hello
from tests.http.talk import hear_replies, hear_requests, pieces, server

CORPUS = Path(__file__).parent / "corpus"

Claim = Callable[[bytes], None]


def same(a: list[tuple], b: list[tuple]) -> bool:
    """Equal, but for how much of a body was given on before a fault in it."""
    if a == b or a[-1:] != b[-1:] or a[-1][0] != "fault":
        return a == b
    a, b = sorted(
        (a[:-1], b[:-1]), key=lambda heard: (len(heard), len(heard[-1][1]) if heard and heard[-1][0] == "body" else 0)
    )
    if a == b:
        return True
    if len(a) < len(b):
        return a == b[:-1] and b[-1][0] == "body"
    return a[:-1] == b[:-1] and a[-1][0] == b[-1][0] == "body" and b[-1][1].startswith(a[-1][1])


def cuts_of(data: bytes) -> tuple[list[int], bytes]:
    """Take the first two bytes for where to cut the rest: a fuzzer that knows of them finds cuts by itself."""
    return [byte % max(1, len(data) - 2) for byte in data[:2]], data[2:]


def requests(data: bytes) -> None:
    """Any bytes are requests and then a client's fault or the end; any cut gives the same."""
    cuts, wire = cuts_of(data)
    whole = hear_requests(server(body_bytes=10_000), wire)
    assert whole[-1][0] in {"fault", "closed"}
    assert same(whole, hear_requests(server(body_bytes=10_000), wire, cuts))
    if len(wire) < 300:
        assert same(whole, hear_requests(server(body_bytes=10_000), wire, range(len(wire))))


def replies(data: bytes) -> None:
    """Any bytes are a reply, or an origin's fault; any cut gives the same."""
    cuts, wire = cuts_of(data)
    for method, upgrade in ((b"GET", None), (b"HEAD", None), (b"GET", b"websocket")):
        whole, conn = hear_replies(wire, method=method, upgrade=upgrade)
        cut, other = hear_replies(wire, cuts, method=method, upgrade=upgrade)
        assert same(whole, cut)
        assert conn.reusable is other.reusable is False


def chunked(data: bytes) -> None:
    """Any bytes are a body of chunks, the beginning of one, or a fault of who sent them; any cut gives the same."""
    cuts, wire = cuts_of(data)

    def decode(parts: list[bytes], fault: type[Fault]) -> tuple:
        decoder = ChunkedDecoder(fault, most=1000)  # type: ignore[arg-type]
        body = b""
        try:
            while parts and not decoder.done:
                body += decoder.decode(parts.pop(0))
        except fault as caught:
            return "fault", caught.reply
        return body, decoder.done, decoder.trailers, decoder.rest + b"".join(parts)

    assert decode(pieces(wire, []), ClientFault) == decode(pieces(wire, cuts), ClientFault)
    assert decode(pieces(wire, []), ClientFault) == decode(pieces(wire, range(min(len(wire), 300))), ClientFault)


def hello(data: bytes) -> None:
    """Any bytes are a hello, the beginning of one, or no TLS; more bytes never change what was said."""
    cuts, wire = cuts_of(data)
    whole = read_hello(wire)
    assert isinstance(whole, Hello | NotTls) or whole is NEED_DATA
    if isinstance(whole, Hello):
        name = whole.server_name
        assert name is None or (name == name.lower() and 0 < len(name) < 254)
    for cut in (*cuts, *range(0, len(wire), 1 + len(wire) // 16)):
        early = read_hello(wire[:cut])
        if isinstance(early, Hello):
            assert early == whole
        elif isinstance(early, NotTls):
            assert isinstance(whole, NotTls)
            assert early.kind == whole.kind


def proxy_header(data: bytes) -> None:
    """Any bytes are a header, the beginning of one, or a client's fault; more bytes never change what was said."""
    cuts, wire = cuts_of(data)

    def read(some: bytes) -> object:
        try:
            return read_header(some)
        except ClientFault as fault:
            return "fault" if fault.reply is None else "a reply to nobody"

    whole = read(wire)
    for cut in (*cuts, *range(0, len(wire), 1 + len(wire) // 16)):
        early = read(wire[:cut])
        assert early is None or early == whole
    if whole is None:
        assert len(wire) < HEADER_BYTES
    elif whole != "fault":
        assert isinstance(whole, Header)
        ends, size = whole
        assert size <= len(wire)
        if ends != NOWHERE:
            for version in (1, 2):
                assert read_header(write_header(ends, version)).ends == ends  # type: ignore[union-attr]


def cache_control(data: bytes) -> None:
    """Any bytes are directives; no number is out of bounds; what forbids is heard beside whatever else."""
    said = parse_cache_control(data)
    for number in (said.max_age, said.s_maxage, said.min_fresh, said.stale_while_revalidate, said.stale_if_error):
        assert number is None or 0 <= number <= FOREVER
    assert parse_cache_control(b"no-store, " + data).no_store


def ranges(data: bytes) -> None:
    """Any bytes are spans inside what there is, that never touch; or nothing to be heeded."""
    length = data[0] if data else 0
    spans = parse_range(data[1:], length)
    if spans is not None and spans is not UNSATISFIABLE:
        assert spans
        assert all(0 <= start < end <= length for start, end in spans)
        assert all(end < start for (_, end), (start, _) in pairwise(sorted(spans)))


def dates(data: bytes) -> None:
    """Any bytes are a date or none; a date that is written again is the same."""
    second = parse_date(data)
    if second is not None:
        assert parse_date(format_date(second)) == second


def tags(data: bytes) -> None:
    """Any bytes are tags that are tags."""
    found = parse_etags(data)
    assert found is ANY or all(is_etag(etag) for etag in found)


def codings(data: bytes) -> None:
    """Whatever is asked for: what is chosen is ours, each once, identity last."""
    chosen = negotiate(data, (b"zstd", b"br", b"gzip"))
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= {b"zstd", b"br", b"gzip", b"identity"}
    assert b"identity" not in chosen[:-1]


def authority(data: bytes) -> None:
    """Any bytes are no host, or have one spelling, which is its own."""
    for scheme in (b"http", b"https"):
        once = canonical_authority(data, scheme)
        if once is not None:
            assert canonical_authority(once, scheme) == once
            assert once == once.lower()
            assert not set(once) & set(b"/\\@?# \t\r\n\0,")


def configuration(data: bytes) -> None:
    """Any text is a configuration or a list of problems, each with its place inside the text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    logging.disable(logging.CRITICAL)
    try:
        found = parse(text, Path("/etc/edge/edge.toml"))
    finally:
        logging.disable(logging.NOTSET)
    assert found.ok == (found.config is not None)
    assert found.ok or found.problems
    lines = text.count("\n") + 1
    for problem in found.problems:
        assert 1 <= problem.line <= lines + 1, problem
        assert problem.col >= 1, problem
        assert problem.message


def credentials(data: bytes) -> None:
    """Any bytes are credentials or none, and no token of ours; none that was not signed is one."""
    for prefix in (b"", b"Basic ", b"Bearer "):
        said = passwords.credentials(prefix + data)
        assert said is None or ":" not in said[0]
        token = tokens.bearer(prefix + data)
        assert token is None or isinstance(tokens.verify(token, _KEYS, _TERMS), tokens.Reason)
    assert isinstance(tokens.verify(data, _KEYS, _TERMS), tokens.Reason)
    assert tokens.cookie(data, b"t") != b""


def keys(data: bytes) -> None:
    """Any bytes are a set of keys, a list of networks, users, or refused in words; what is read can be used."""
    with suppress(ValueError):
        assert all(
            key.algorithms for key in tokens.read_set(data, ["RS256", "ES256", "HS256", "EdDSA"], is_local=True).keys
        )
    with suppress(ValueError):
        networks.NetworkTable(networks.read_networks(data), []).listed("192.0.2.1")
    with suppress(ValueError):
        assert all(passwords.read_users(data).values())


_KEYS = tokens.KeySet([tokens.secret_key(b"a shared secret that is long enough for all", ["HS256"])])
_TERMS = tokens.Terms()

PARSERS: dict[str, Claim] = {
    "requests": requests,
    "replies": replies,
    "chunked": chunked,
    "hello": hello,
    "proxy_header": proxy_header,
    "cache_control": cache_control,
    "ranges": ranges,
    "dates": dates,
    "tags": tags,
    "codings": codings,
    "authority": authority,
    "configuration": configuration,
    "credentials": credentials,
    "keys": keys,
}


def corpus_of(name: str) -> list[Path]:
    """Return the files that are kept for a parser: what once was of interest, to people or to a fuzzer."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())
