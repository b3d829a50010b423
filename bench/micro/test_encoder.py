"""
What a coding costs and gives (``edge/compress``), and why gzip is zlib-ng's.

Run ``pytest bench/micro/test_encoder.py``. ``extra_info`` has the size that came of it: time alone would choose isal.
"""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

import pytest
from isal import isal_zlib

import edge
from edge.compress.eligible import Rules, is_eligible
from edge.compress.encoder import ENCODINGS, LEVELS, compress_whole, encoder
from edge.message.head import Framing, ReplyHead

_SOURCES = sorted(Path(edge.__file__).parent.glob("message/*.py"))
SOURCE = b"".join(path.read_bytes() for path in _SOURCES)[: 16 * 1024]
_RANDOM = random.Random(1)
CATALOG = json.dumps(
    [
        {"id": n, "name": _RANDOM.choice(["red shoe", "blue hat", "old coat"]), "key": f"{_RANDOM.getrandbits(64):x}"}
        for n in range(300)
    ]
).encode()[: 16 * 1024]
BODIES = pytest.mark.parametrize("body", [SOURCE, CATALOG], ids=["source", "catalog"])


@BODIES
@pytest.mark.parametrize("encoding", ENCODINGS, ids=bytes.decode)
def test_16_kib_whole(benchmark, encoding, body):
    coded = benchmark(compress_whole, encoding, body, LEVELS[encoding])
    benchmark.extra_info["bytes"] = len(coded)


@BODIES
def test_16_kib_by_zlib_for_comparison(benchmark, body):
    coded = benchmark(zlib.compress, body, 6, 31)
    benchmark.extra_info["bytes"] = len(coded)


@BODIES
def test_16_kib_by_isal_for_comparison(benchmark, body):
    coded = benchmark(isal_zlib.compress, body, 3, 31)
    benchmark.extra_info["bytes"] = len(coded)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=bytes.decode)
def test_a_stream_of_events_each_flushed(benchmark, encoding):
    event = b'data: {"price": 17.25, "item": "blue hat"}\n\n'

    def stream():
        coding = encoder(encoding, LEVELS[encoding])
        sent = b""
        for _ in range(100):
            sent += coding.feed(event) + coding.flush()
        return sent + coding.finish()

    benchmark.extra_info["bytes"] = len(benchmark(stream))


def test_deciding_that_a_reply_is_coded(benchmark):
    fields = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"public, max-age=3600")]
    reply = ReplyHead(200, fields, framing=Framing.LENGTH, length=1024)

    benchmark(is_eligible, reply, Rules(["text/*", "application/json"], 256))


def test_deciding_that_a_reply_is_not_coded(benchmark):
    reply = ReplyHead(200, [(b"content-type", b"image/webp")], framing=Framing.LENGTH, length=1024)

    benchmark(is_eligible, reply, Rules(["text/*", "application/json"], 256))
