"""
What we take, every origin must take in the same way: nginx, HAProxy, Apache httpd and h11 as second readers.

Each message goes, with a harmless request behind it, on one connection

- through our parser: either it is refused, or it is a list of requests, the harmless one last;
- as it is, to each peer: on which messages do readers of this world disagree?
- as we would send it on, to each peer: every request that we took, written anew from what was understood.

Invariants
    - whatever we take, each peer that takes it hears as many requests, with the same methods and targets;
    - what we send on, each peer that takes it hears as exactly the requests we meant, one by one, and never another one;
    - so whatever two peers (or a peer and h11) hear differently, we refuse, or send on in a form that has one meaning.

``EDGE_MESSAGES=100000`` tries that many, ``EDGE_MESSAGES_SEED`` others; ``long`` does both.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import h11
import pytest

from edge.errors import Fault
from edge.http.events import Body, End, Request, Wait
from edge.http.h1.client import ClientConnection
from edge.message.head import Framing, RequestHead
from edge.origin.request import origin_request
from tests.fuzz.messages import corpus, generated
from tests.http.talk import NO_CONTENT, server, written
from tests.kit.counts import tried
from tests.kit.peers import Heard, Peer, Saw, running

COUNT = int(os.environ.get("EDGE_MESSAGES", "2500"))
SEED = int(os.environ.get("EDGE_MESSAGES_SEED", "1"))
MARKER = b"GET /marker HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LAST = Saw(b"GET", b"a", b"/marker")
AT_ONCE = 24


def ours(wire: bytes) -> tuple[list[tuple[RequestHead, bytes]], bool]:
    """Return the requests that our parser heard to their end, with their bodies, and whether it refused what follows."""
    conn = server()
    found: list[tuple[RequestHead, bytes]] = []
    head: RequestHead | None = None
    body = b""
    conn.receive(wire)
    while True:
        try:
            event = conn.next_event()
        except Fault:
            return found, True
        if type(event) is Request:
            head, body = event.head, b""
        elif type(event) is Body:
            body += event.data
        elif event is Wait.NEED_DATA or (event is Wait.PAUSED and conn.closing):
            return found, False
        if type(event) is End or (type(event) is Request and event.head.framing is Framing.NONE):
            assert head is not None
            found.append((head, body))
            conn.send_head(event.stream, NO_CONTENT)
            conn.send_end(event.stream)


def sent_on(heard: list[tuple[RequestHead, bytes]]) -> bytes:
    """Return what an origin gets for these requests, all on one connection, and the harmless one behind them."""
    wire = b""
    for head, body in heard:
        request = origin_request(head, peer=b"192.0.2.1", trusted=False, request_id=b"x")
        conn = ClientConnection()
        conn.send_request(
            request.method, request.target, request.authority, request.fields, request.framing, request.length
        )
        if request.framing is not Framing.NONE:
            if body:
                conn.send_body(body)
            conn.send_end()
        wire += written(conn)
    return wire + MARKER


def meant(heard: list[tuple[RequestHead, bytes]]) -> tuple[Saw, ...]:
    return tuple(Saw(head.method, head.authority, head.target) for head, _ in heard)


def by_h11(wire: bytes) -> Heard:
    """Ask h11 the same."""
    conn = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    conn.receive_data(wire)
    conn.receive_data(b"")
    saw: list[Saw] = []
    try:
        while True:
            event = conn.next_event()
            if type(event) is h11.Request:
                last = Saw(event.method, dict(event.headers).get(b"host", b"").lower(), event.target)
            elif type(event) is h11.EndOfMessage:
                saw.append(last)
                conn.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
                conn.send(h11.EndOfMessage())
                if conn.our_state is not h11.DONE:
                    return Heard(tuple(saw), left=True)
                conn.start_next_cycle()
            elif type(event) is not h11.Data:
                return Heard(tuple(saw))
    except h11.RemoteProtocolError:
        return Heard(tuple(saw), 400)


def plain(saw: Iterable[Saw]) -> list[tuple[bytes, bytes]]:
    """Methods and targets alone: readers show an absolute target in two ways, and what we send on has none."""
    found = []
    for one in saw:
        target = one.target
        if target[:4].lower() == b"http" and b"://" in target:
            parts = urlsplit(target.decode("latin-1"))
            target = (parts.path or "/").encode("latin-1") + (
                b"?" + parts.query.encode("latin-1") if parts.query else b""
            )
        elif target.startswith(b"?"):  # nginx, of http://a?x: RFC 9112 §3.2.1 has an empty path sent as /
            target = b"/" + target
        found.append((one.method, target))
    return found


class Comparison:
    """Many messages, and what was found out about them."""

    def __init__(self, peers: list[Peer]) -> None:
        self.peers = peers
        self.wrong: list[str] = []
        self.numbers = dict.fromkeys(
            ("messages", "taken_by_us", "refused_by_us", "that_others_hear_differently", "of_those_refused_by_us"), 0
        )
        self.numbers["that_some_take_and_others_refuse"] = 0
        self.numbers["asked_of_peers"] = 0

    async def all(self, messages: Iterable[bytes]) -> None:
        source = iter(messages)

        async def some() -> None:
            for wire in source:
                await self.one(wire)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(some())

    async def one(self, wire: bytes) -> None:
        heard, refused = ours(wire + MARKER)
        taken = not refused and bool(heard) and meant(heard)[-1] == LAST
        numbers = self.numbers
        numbers["messages"] += 1
        numbers["taken_by_us" if taken else "refused_by_us"] += 1
        asked = [peer.hear(wire + MARKER) for peer in self.peers]
        again = sent_on(heard[:-1] if taken else heard) if heard else b""
        if again:
            asked += [peer.hear(again) for peer in self.peers]
        answers = await asyncio.gather(*asked)
        numbers["asked_of_peers"] += len(answers)
        names = [peer.name for peer in self.peers]
        raw = dict(zip(names, answers, strict=False)) | {"h11": by_h11(wire + MARKER)}
        opinions = {tuple(plain(one.saw)) for one in raw.values() if one.refused is None and not stopped(one)}
        if len(opinions) > 1:
            numbers["that_others_hear_differently"] += 1
            numbers["of_those_refused_by_us"] += not taken
        numbers["that_some_take_and_others_refuse"] += len({one.refused is None for one in raw.values()}) == 2
        if taken:
            for name, one in raw.items():
                if one.refused is None and not agrees(one, plain(one.saw), plain(meant(heard))):
                    self.wrong.append(f"we take {wire!r}\nas {plain(meant(heard))}, {name} as {plain(one.saw)}")
        if again:
            expected = meant(heard[:-1] if taken else heard)
            rewritten = dict(zip(names, answers[len(names) :], strict=True)) | {"h11": by_h11(again)}
            for name, one in rewritten.items():
                if not agrees(one, list(one.saw), [*expected, LAST]):
                    self.wrong.append(f"for {wire!r}\nwe send {again!r}\nmeaning {expected}, {name} hears {one}")


def stopped(one: Heard) -> bool:
    """Whether it has said that it looks at nothing more, before the harmless request."""
    return one.left and one.saw[-1] != LAST


def agrees(one: Heard, saw: list, expected: list) -> bool:
    """
    Whether it heard what was meant; or, if it refused something or would not go on, nothing but that before.

    What it refuses must be a request that was meant: to refuse the harmless last one is to have begun it elsewhere.
    """
    if stopped(one):
        return saw == expected[: len(saw)]
    if one.refused is not None:
        return saw == expected[: len(saw)] and len(saw) < len(expected) - 1
    return saw == expected


def compare(folder: Path, count: int, seed: int) -> Comparison:
    """Try the corpus and *count* generated messages."""
    with running(folder) as peers:
        comparison = Comparison(peers)
        asyncio.run(comparison.all([*corpus(), *generated(seed, count)]))
    names = ", ".join([*(peer.name for peer in peers), "h11"])
    tried(f"requests read by us and by {names}", **comparison.numbers)
    return comparison


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.timeout(1800)
def test_no_origin_hears_another_request_than_we_do(tmp_path: Path) -> None:
    """See above for what holds."""
    comparison = compare(tmp_path, COUNT, SEED)

    assert not comparison.wrong, "\n\n".join(comparison.wrong[:5]) + f"\n\n{len(comparison.wrong)} in all"
    assert comparison.numbers["taken_by_us"] > COUNT / 20
    assert comparison.numbers["that_others_hear_differently"] > COUNT / 1000
    assert comparison.numbers["that_some_take_and_others_refuse"] > COUNT / 100


@pytest.mark.long
@pytest.mark.peers
@pytest.mark.timeout(7200)
def test_no_origin_hears_another_request_than_we_do_for_long(tmp_path: Path) -> None:
    """The same, a hundred times over."""
    comparison = compare(tmp_path, max(COUNT, 100_000), SEED + 1)

    assert not comparison.wrong, "\n\n".join(comparison.wrong[:5])
