"""
What sending a copy costs before it reaches the connection (``edge/reply/prepared.py``, ``edge/reply/compose.py``).

Run ``pytest bench/micro/test_prepared.py``. The first row is paid by every hit; the next two once per copy and second;
the rest once per copy, or by replies that do not come from memory.
"""

from __future__ import annotations

import itertools

import pytest

from edge.message.head import Framing, ReplyHead
from edge.reply.compose import compose_forwarded, compose_hit
from edge.reply.errors import error_reply
from edge.reply.prepared import prepare

FIELDS = [
    (b"date", b"Sun, 06 Nov 1994 09:00:00 GMT"),
    (b"content-type", b"text/html; charset=utf-8"),
    (b"etag", b'"5f3c-18a"'),
    (b"last-modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"cache-control", b"public, max-age=3600"),
    (b"x-frame-options", b"DENY"),
    (b"strict-transport-security", b"max-age=31536000"),
]
TIMES = {"age_base_wall": 1000.5, "fresh_until_wall": 4600.5, "date_wall": 1003.2}


@pytest.mark.parametrize("render", ["wire", "wire_head", "wire_304"])
def test_again_within_the_second(benchmark, render):
    ready = prepare(200, FIELDS, b"x" * 1024, **TIMES)

    # A loop inside the timer: one call is shorter than the timer's own.
    benchmark.pedantic(getattr(ready, render), args=(1010,), rounds=200, iterations=5000, warmup_rounds=5)


@pytest.mark.parametrize("length", [1024, 16 * 1024, 1024 * 1024])
def test_first_in_a_new_second(benchmark, length):
    ready = prepare(200, FIELDS, b"x" * length, **TIMES)
    seconds = itertools.count(1010)

    benchmark(lambda: ready.wire(next(seconds)))


@pytest.mark.parametrize("encoding", [b"identity", b"br"])
def test_making_a_copy_ready(benchmark, encoding):
    body = b"x" * 1024

    benchmark(lambda: prepare(200, FIELDS, body, encoding=encoding, eligible=True, **TIMES))


def test_the_general_path_for_a_copy(benchmark):
    benchmark(lambda: compose_hit(200, FIELDS, now_s=1010, length=1024, eligible=True, **TIMES))


def test_a_reply_on_its_way_from_the_origin(benchmark):
    reply = ReplyHead(200, FIELDS, b"OK", framing=Framing.LENGTH, length=1024)

    benchmark(lambda: compose_forwarded(reply, now_wall=1003.2, cache_status=b"edge; fwd=uri-miss", eligible=True))


@pytest.mark.parametrize("accept", [None, b"text/html", b"application/json"])
def test_an_error(benchmark, accept):
    benchmark(lambda: error_reply(502, now_wall=1003.2, accept=accept, request_id="r-17", proxy_error="dns_error"))
