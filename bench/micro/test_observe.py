"""
What saying what happened costs (``edge/observe``).

Run ``pytest bench/micro/test_observe.py``. The first row is paid by every exchange when it ends; the others are for a
batch of 512, once per flush: divide by 512 for the cost of a line. Heads that repeat are the hits of a few hot pages,
heads that never do are a crowd with caches of its own.
"""

from __future__ import annotations

import pytest

from edge.message.head import RequestHead
from edge.observe.access_log import CombinedFormat, JsonFormat
from edge.observe.ledger import BATCH, Ledger, count
from edge.observe.names import ROWS

AGENT = b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"


def heads(number):
    fields = [(b"user-agent", AGENT), (b"referer", b"https://shop.example/")]
    return [RequestHead(b"GET", b"https", b"shop.example", b"/catalog/item-%d" % at, fields) for at in range(number)]


def batch(different):
    asked = heads(different)
    return [
        (
            1700000000.0 + at / 75000.0,
            "192.0.2.1",
            "TLSv1.3",
            asked[at % different],
            200,
            1024,
            at % 60 / 1000000.0,
            "hit",
            "br",
            "",
            0.0,
            "",
            "",
            "",
        )
        for at in range(BATCH)
    ]


def test_recording(benchmark):
    ledger = Ledger(memoryview(bytearray(8 * len(ROWS))).cast("Q"), None)
    record, (head,) = ledger.record, heads(1)
    wall, client, duration = 1.7e9, "192.0.2.1", 0.00004

    def thousand():
        for _ in range(1000):
            record((wall, client, "TLSv1.3", head, 200, 1024, duration, "hit", "", "", 0.0, "", "", ""))
        ledger._entries.clear()

    benchmark(thousand)


@pytest.mark.parametrize("different", [8, BATCH], ids=["heads repeat", "heads never repeat"])
@pytest.mark.parametrize("make", [JsonFormat, CombinedFormat])
def test_formatting_a_batch(benchmark, make, different):
    entries, format_ = batch(different), make()

    benchmark(format_.lines, entries)


def test_formatting_a_batch_nobody_has_seen(benchmark):
    entries = batch(BATCH)

    benchmark(lambda: JsonFormat().lines(entries))


def test_counting_a_batch(benchmark):
    entries, cells = batch(8), memoryview(bytearray(8 * len(ROWS))).cast("Q")

    benchmark(count, entries, cells)
