"""
Asking servers whether they are well: one worker does it for the node.

Whoever takes the post (:meth:`Fleet.take_post`) is the checker. The kernel gives the post back when its holder dies, and a worker
that leaves gives it back at once; the others ask for it twice a second. What a check shows is written into the
server's row, which every worker goes by. Where no origin has a ``health`` path there is no task.

A check is a connection of its own, spoken to as requests are (TLS, source address, PROXY header), since a kept connection says
nothing about whether another could be made. Servers are checked side by side, and begin at different moments.

Invariant: a check ends within its timeout, whatever the server does; a server that leaves is checked no more.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import wait_readable, wait_writable

from edge.errors import Fault
from edge.http.events import Body, End, Reply
from edge.http.h1.client import ClientConnection
from edge.message.head import Framing
from edge.origin.checks import BODY_BYTES, Series, complaint
from edge.origin.health import Checked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.config.origin_rules import HealthCheck
    from edge.message.head import Field
    from edge.tls.stream import Stream
    from edge.worker.pools import Group, Server

log = logging.getLogger("edge.origin")

POST: Final = 1
"""The post of who checks health."""

ELECTION_S: Final = 0.5
"""How long a post stays empty at most."""

MEMBERS_S: Final = 0.5
"""How soon a server that joins is checked."""

_FIELDS: Final[list[Field]] = [(b"user-agent", b"edge-health-check"), (b"accept", b"*/*")]


class Checker:
    """
    Checks the servers of *groups*, while it holds the post.

    Attributes:
        is_elected: it does.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = [group for group in groups if group.settings.health.path is not None]
        self._scope = trio.CancelScope()
        self.is_elected = False

    async def run(self) -> None:
        """Take the post when it is free, and check until :meth:`leave`."""
        if not self._groups:
            return
        fleet = self._groups[0].node.fleet
        try:
            with self._scope:
                while not fleet.take_post(POST):  # noqa: ASYNC110 - the kernel rings no bell when a lock comes free
                    await trio.sleep(ELECTION_S)
                self.is_elected = True
                log.info("this worker checks the origins' health now")
                async with trio.open_nursery() as nursery:
                    for group in self._groups:
                        nursery.start_soon(_look_after, group)
        finally:
            if self.is_elected:
                self.is_elected = False
                fleet.leave_post(POST)

    def leave(self) -> None:
        """Let another worker do it."""
        self._scope.cancel()


async def _look_after(group: Group) -> None:
    """Check every server there is, as they come and go."""
    scopes: dict[Server, trio.CancelScope] = {}
    async with trio.open_nursery() as nursery:
        while True:
            servers = set(group.servers)
            for server in [server for server in scopes if server not in servers]:
                scopes.pop(server).cancel()
            for server in servers - scopes.keys():
                scopes[server] = trio.CancelScope()
                nursery.start_soon(_check_on, server, scopes[server])
            await trio.sleep(MEMBERS_S)


async def _check_on(server: Server, scope: trio.CancelScope) -> None:
    """Check one server for as long as it is there."""
    group = server.group
    check, clock = group.settings.health, group.clock
    series = Series(check.rise, check.fall)
    with scope:
        await trio.sleep(random.random() * min(check.interval_s, 1.0) / 4)
        while True:
            began_mono = clock.mono()
            status, why = await _ask(server, check)
            now_mono = clock.mono()
            server.health.note_check(status, now_mono)
            verdict = series.note(server.health.checked, passed=why is None)
            if server.health.checked_as(verdict, now_mono):
                if verdict is Checked.DOWN:
                    log.warning("origin %s: %s is down: %s", group.settings.name, server.label, why)
                else:
                    log.warning("origin %s: %s is up again", group.settings.name, server.label)
            await trio.sleep(max(0.0, began_mono + check.interval_s - clock.mono()))


async def _ask(server: Server, check: HealthCheck) -> tuple[int, str | None]:
    """Check once; return the reply's status (0: there was none) and what is wrong with it."""
    group = server.group
    with trio.CancelScope(relative_deadline=check.timeout_s):
        try:
            stream = await group.dialler.dial(server.door, check.timeout_s, group.preface)
            try:
                return await _exchange(stream, server, check)
            finally:
                stream.close()
        except Fault as fault:
            return 0, f"{fault.word}: {fault.detail}"
    return 0, f"nothing within {check.timeout_s:g}s"


async def _exchange(stream: Stream, server: Server, check: HealthCheck) -> tuple[int, str | None]:
    """Ask on a connection, and judge the reply."""
    assert check.path is not None
    wire = ClientConnection()
    authority = server.authority if check.host is None else check.host.encode()
    wire.send_request(b"GET", check.path.encode(), authority, _FIELDS, Framing.NONE, 0, last=True)
    fd = stream.fileno()
    while wire.out:
        taken = stream.push(wire.out.first())
        if taken:
            wire.out.sent(taken)
        elif stream.wants_write:
            await wait_writable(fd)
    wanted = None if check.body is None else check.body.encode()
    status, body = 0, b""
    while True:
        event = wire.next_event()
        if type(event) is Reply:
            if event.head.status < 200:
                continue
            status = event.head.status
            if wanted is None or event.head.framing is Framing.NONE:
                return status, complaint(status, b"", check.statuses, wanted)
        elif type(event) is Body:
            body += event.data
        if type(event) is End or len(body) >= BODY_BYTES:
            return status, complaint(status, body[:BODY_BYTES], check.statuses, wanted)
        if type(event) is Reply or type(event) is Body:
            continue
        await trio.lowlevel.checkpoint()  # one that sends without end shall not keep the scope from ending this
        data = stream.pull()
        if data is None:
            await wait_readable(fd)
        elif data:
            wire.receive(data)
        else:
            wire.receive_eof()
