"""
Clients that ask without pause, count every request and look at every byte.

What befalls a request is one of five things, told apart strictly:

- *answered*: a complete reply, with the right status and the right bytes.
- *retried*: sent on a kept connection that was at rest, and closed without a byte of reply; a GET, so any client asks again.
- *refused*: not let in; its request was never sent.
- *lost*: never answered, or broken off. A POST on a kept connection that was closed is lost: nobody may repeat it.
- *wrong*: answered with something else.
"""

from __future__ import annotations

import gzip
import hashlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import trio

from tests.kit.client import Gone, Reply
from tests.kit.node import Caller, Node, until
from tests.kit.origin import Asked, Wire, reply

REQUEST_S = 20.0
"""A request that takes longer has failed."""

PAUSE_S = 0.004
"""Between a client's requests: what is tested is that none fails, not how many there can be."""

KEPT_PAGES = 12


@dataclass
class Failure:
    """One request that failed."""

    kind: str
    what: str
    request: str
    port: int
    is_fresh: bool

    def __str__(self) -> str:
        how = "new" if self.is_fresh else "kept"
        return f"{self.kind}: {self.request} on a {how} connection (port {self.port}): {self.what}"


@dataclass
class Tally:
    """What has happened so far."""

    asked: int = 0
    answered: int = 0
    retried: int = 0
    connections: int = 0
    resumed: int = 0
    farewells: int = 0  # replies that said "connection: close"
    longest_s: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"asked {self.asked}, answered {self.answered}, failed {len(self.failures)}, retried at rest {self.retried}, "
            f"{self.connections} connections ({self.resumed} resumed), {self.farewells} farewells, "
            f"longest {self.longest_s:.3f}s, {dict(self.outcomes)}"
        )

    async def more(self, answers: int = 150) -> None:
        """Wait until so many more requests have been answered, or one has failed."""
        goal = self.answered + answers
        failed = len(self.failures)
        await until(lambda: self.answered >= goal or len(self.failures) > failed, why=lambda: f"no progress: {self}")

    def assert_clean(self) -> None:
        """Nothing failed, and nothing was left unanswered."""
        print(self)
        assert not self.failures, "\n".join(map(str, self.failures[:20]))
        assert self.answered == self.asked


def body_of(target: bytes) -> bytes:
    """What the origin answers to *target*: 1 to 40 KiB that no other target has."""
    seed = hashlib.sha256(target).digest()
    return seed.hex().encode() * (16 + seed[0] % 600)


async def answer(asked: Asked, wire: Wire) -> None:
    """The origin's script: ``/kept/…`` may be stored, ``/echo`` says what was posted, all else is not stored."""
    if asked.method == b"POST":
        await wire.send(reply(body=asked.body, content_type="application/octet-stream"))
        return
    kept = asked.target.startswith(b"/kept/")
    policy = "max-age=3600" if kept else "no-store"
    await wire.send(reply(body=body_of(asked.target), cache_control=policy, content_type="text/plain"))


@asynccontextmanager
async def load(node: Node, *, keepers: int = 6, callers: int = 2) -> AsyncIterator[Tally]:
    """
    Keep *node* busy for the block: *keepers* keep their connection, *callers* make a new one for every request.

    The node's origin must answer with :func:`answer`.
    """
    run = _Run(node)
    async with trio.open_nursery() as nursery:
        for number in range(keepers + callers):
            nursery.start_soon(run.ask_on, number, number < keepers)
        yield run.tally
        run.is_over = True


class _Run:
    def __init__(self, node: Node) -> None:
        self.node = node
        self.tally = Tally()
        self.is_over = False
        self.tls = node.trust
        self._numbers = count()

    async def ask_on(self, number: int, keeps: bool) -> None:
        """Be one client."""
        caller: Caller | None = None
        session: ssl.SSLSession | None = None
        for request in self._requests(number):
            if self.is_over:
                break
            caller, session = await self._see_through(request, caller, session)
            if caller is not None and not keeps:
                await caller.aclose()
                caller = None
            await trio.sleep(PAUSE_S)
        if caller is not None:
            await caller.aclose()

    def _requests(self, number: int) -> Iterator[tuple[str, str, bytes, bytes]]:
        """Method, target, body, and the bytes that are right: mostly hits, some misses, some posts."""
        for turn in count(number):
            unique = next(self._numbers)
            if turn % 10 == 0:
                sent = body_of(b"posted %d" % unique)
                yield "POST", f"/echo?{unique}", sent, sent
            elif turn % 5 == 1:
                yield "GET", f"/passed/{unique}", b"", body_of(b"/passed/%d" % unique)
            else:
                target = f"/kept/{turn % KEPT_PAGES}"
                yield "GET", target, b"", body_of(target.encode())

    async def _see_through(
        self, request: tuple[str, str, bytes, bytes], caller: Caller | None, session: ssl.SSLSession | None
    ) -> tuple[Caller | None, ssl.SSLSession | None]:
        """Ask until there is an answer or a failure; return what may be used for the next request."""
        tally = self.tally
        method, target, sent, right = request
        tally.asked += 1
        began = trio.current_time()
        while True:
            is_fresh = caller is None
            kind, port = "refused", 0
            try:
                with trio.fail_after(REQUEST_S):
                    if caller is None:
                        caller = await self.node.connect(tls=self.tls, session=session)
                        port = caller.port
                        await caller.tls.do_handshake()
                        tally.connections += 1
                        tally.resumed += bool(caller.tls.session_reused)
                    kind, port = "lost", caller.port
                    caller.received.clear()
                    got = await self._exchange(caller, method, target, sent)
            except (OSError, trio.BrokenResourceError, trio.TooSlowError, Gone, ssl.SSLError) as error:
                heard = caller is not None and bool(caller.received)
                if caller is not None:
                    await trio.aclose_forcefully(caller.stream)
                    caller = None
                if not (is_fresh or heard or method == "POST" or isinstance(error, trio.TooSlowError)):
                    tally.retried += 1
                    continue
                cause = f"{error!r} from {error.__cause__!r}" + (", after some of the reply" if heard else "")
                tally.failures.append(Failure(kind, cause, f"{method} {target}", port, is_fresh))
                return None, session
            break
        tally.longest_s = max(tally.longest_s, trio.current_time() - began)
        wrong = self._wrong(got, right)
        if wrong:
            tally.failures.append(Failure("wrong", wrong, f"{method} {target}", port, is_fresh))
        else:
            tally.answered += 1
        tally.outcomes[(got.get(b"cache-status") or b"").decode().partition(";")[2].split(";")[0].strip()] += 1
        session = caller.tls.session
        if b"close" in (got.get(b"connection") or b""):
            tally.farewells += 1
            await trio.aclose_forcefully(caller.stream)
            return None, session
        return caller, session

    async def _exchange(self, caller: Caller, method: str, target: str, sent: bytes) -> Reply:
        coded = {"accept_encoding": "gzip"} if target.endswith(("3", "7")) else {}
        if method == "POST":
            await caller.send(
                f"POST {target} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {len(sent)}\r\n\r\n".encode() + sent
            )
            return await caller.reply("POST")
        return await caller.get(target, **coded)

    @staticmethod
    def _wrong(got: Reply, right: bytes) -> str:
        if got.status != 200:
            return f"status {got.status}: {got.body[:300]!r} {got.headers}"
        body = gzip.decompress(got.body) if got.get(b"content-encoding") == b"gzip" else got.body
        if body != right:
            return f"{len(body)} bytes instead of {len(right)}: {body[:64]!r}…"
        return ""
