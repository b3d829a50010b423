"""
Another origin hears what an origin is asked, and nobody hears what it says.

What is mirrored is what the origin is asked, not what clients ask: an answer from the cache is not, and a request that is
tried again is mirrored once. A request's body is held until it is whole; one that is longer than the rule allows is not mirrored.

Invariants
    - Nobody waits for a mirrored request: it is begun in a task of its own, and what it costs others is its share of the loop.
    - As many as the rule says are under way at once in this worker, and none longer than its time; more are not begun. So
      what they hold is bounded by ``at_once`` bodies of ``body``, and a mirror that hangs is left alone.
    - Whatever befalls one is counted and costs nobody anything.
"""

from __future__ import annotations

import dataclasses
import logging
from random import random
from typing import TYPE_CHECKING, Final

import trio

from edge.errors import Fault
from edge.message.head import Framing
from edge.observe import names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge.config.route_rules import RouteMirror
    from edge.observe.ledger import Cells
    from edge.origin.request import OriginRequest
    from edge.worker.origins import Origins

log = logging.getLogger("edge")

READ_ON: Final = 256 * 1024
"""Bytes of a reply that are read and thrown away for the sake of its connection; a longer reply costs that."""


class Mirrors:
    """
    The mirrored requests of one worker.

    Args:
        nursery: where they live.
        origins: who hears them.
        cells: this worker's counters.
        draw: a number from 0 to 1, for the share; tests give their own.
    """

    def __init__(
        self, nursery: trio.Nursery, origins: Origins, cells: Cells, draw: Callable[[], float] = random
    ) -> None:
        self._nursery = nursery
        self._origins = origins
        self._cells = cells
        self._draw = draw
        self._under_way: dict[int, int] = {}

    def hear(self, rule: RouteMirror, request: OriginRequest, body: bytes = b"") -> None:
        """Let the mirror of *rule* hear *request*, if it is one of its share. Never waits, never raises."""
        if self._draw() * 100 < rule.share:
            self._begin(rule, request, body)

    def overhear(
        self, rule: RouteMirror, request: OriginRequest, source: Callable[[], Awaitable[bytes | None]]
    ) -> Callable[[], Awaitable[bytes | None]]:
        """
        Return a *source* of the same body, at whose end the mirror hears the request, if it is one of its share.

        A body that breaks off, or becomes too long, is not heard.
        """
        if self._draw() * 100 >= rule.share:
            return source
        held: list[bytes] | None = []
        size = 0

        async def overheard() -> bytes | None:
            nonlocal held, size
            data = await source()
            if held is None:
                return data
            if data is None:
                self._begin(rule, request, b"".join(held))
                held = None
                return None
            size += len(data)
            if size > rule.body_bytes:
                held = None
                self._cells[names.MIRRORS_DROPPED] += 1
            else:
                held.append(bytes(data))
            return data

        return overheard

    def _begin(self, rule: RouteMirror, request: OriginRequest, body: bytes) -> None:
        if self._under_way.get(id(rule), 0) >= rule.at_once:
            self._cells[names.MIRRORS_DROPPED] += 1
            return
        self._under_way[id(rule)] = self._under_way.get(id(rule), 0) + 1
        self._cells[names.MIRRORED] += 1
        has_body = request.framing is not Framing.NONE
        copied = dataclasses.replace(
            request,
            fields=[entry for entry in request.fields if entry[0] != b"expect"],
            framing=Framing.LENGTH if has_body else Framing.NONE,
            length=len(body),
            expect_continue=False,
            upgrade=None,
        )
        self._nursery.start_soon(self._ask, rule, copied, body)

    async def _ask(self, rule: RouteMirror, request: OriginRequest, body: bytes) -> None:
        assert rule.origin is not None
        try:
            with trio.move_on_after(rule.timeout_s) as scope:
                async with self._origins.exchange(rule.origin, request) as ox:
                    if body:
                        await ox.send_body(body)
                    if request.framing is not Framing.NONE:
                        await ox.send_end()
                    await ox.reply()
                    size = 0
                    while size < READ_ON and (data := await ox.body()):
                        size += len(data)
            if scope.cancelled_caught:
                self._cells[names.MIRRORS_FAILED] += 1
        except Fault as fault:
            self._cells[names.MIRRORS_FAILED] += 1
            log.debug("the mirror %s failed: %s %s", rule.origin, fault.word, fault.detail)
        except Exception:
            self._cells[names.BUGS] += 1
            log.exception("an error of our own, mirroring to %s: please report it", rule.origin)
        finally:
            self._under_way[id(rule)] -= 1
