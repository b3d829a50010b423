"""
What policy costs per request: reading a head, deciding on a copy, deciding on a reply.

    python -m pytest bench/micro/test_lookup.py -q
"""

from __future__ import annotations

from edge.cache.ask import ask_of
from edge.cache.copy import IDENTITY, BodyRef, decode_copies, encode_copies
from edge.cache.lookup import Hit, lookup
from edge.cache.storing import may_store
from edge.message.head import Framing, ReplyHead, RequestHead

NOW = 1_800_000_000.0
PREFERENCE = (b"zstd", b"br", b"gzip")
HEAD = RequestHead(
    b"GET",
    b"https",
    b"shop.example",
    b"/catalog/42?color=red",
    [
        (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"),
        (b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8"),
        (b"accept-language", b"en-US,en;q=0.5"),
        (b"accept-encoding", b"gzip, deflate, br, zstd"),
        (b"cookie", b"session=0123456789abcdef"),
    ],
)
REPLY = ReplyHead(
    200,
    [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"public, max-age=300, stale-while-revalidate=60"),
        (b"etag", b'"5f3c-9a1b"'),
        (b"last-modified", b"Tue, 01 Dec 2026 10:00:00 GMT"),
        (b"date", b"Fri, 15 Jan 2027 08:00:00 GMT"),
        (b"server", b"shop"),
        (b"vary", b"accept-encoding, accept-language"),
    ],
    framing=Framing.LENGTH,
    length=1024,
)
ASK = ask_of(HEAD, PREFERENCE)
COPY = may_store(ASK, REPLY, request_wall=NOW, response_wall=NOW)
COPY.bodies = {IDENTITY: BodyRef(16, 1024), b"br": BodyRef(17, 300)}
WRITTEN = encode_copies([COPY])


def test_reading_what_a_request_says(benchmark):
    benchmark(ask_of, HEAD, PREFERENCE)


def test_a_fresh_copy_with_two_selecting_fields(benchmark):
    assert type(benchmark(lookup, ASK, [COPY], NOW + 1)) is Hit


def test_deciding_on_a_reply(benchmark):
    benchmark(may_store, ASK, REPLY, request_wall=NOW, response_wall=NOW)


def test_decoding_a_record(benchmark):
    assert benchmark(decode_copies, WRITTEN) == [COPY]
