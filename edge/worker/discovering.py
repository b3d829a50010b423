"""
Servers that are found while the worker runs: names that stand for several, and files that list them.

For each of them one process of the node asks, whoever holds its desk (:mod:`edge.share.notices`), and puts up what it has found;
every process, that one too, takes up what is put up, about a second later. So all workers have the same servers, a name server
hears one question per node, and what was known last is known to whoever is born later, over restarts and reloads.

No request waits for any of this: a name is asked for again before anybody could miss it, and a failure changes nothing but how
soon the next question is asked. Only a worker that knows nothing yet waits for the first answers, a moment, before it says that
it is ready.

States of a watch, by what is known of it

    unknown    nothing was ever found: its origin is without these servers
    known      the last good answer holds, however old it is
    failing    known or unknown, and the last question went wrong; said once (of a file, for each cause), and once when it goes right
               again

Source: RFC 1035 (TTL); the files' part is Prometheus's ``file_sd``: a broken list is no list.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from edge.config.contents import read
from edge.config.load import parse_servers
from edge.observe import names
from edge.origin.discovery import by_address, by_service, from_notice, next_ask_s, retry_s, to_notice
from edge.origin.members import Member, Members
from edge.share.notices import hash_of
from edge.worker.pools import member_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge.clock import Clock
    from edge.config.tree import Discovery as Settings
    from edge.config.tree import Origin
    from edge.observe.ledger import Cells
    from edge.share.notices import Notices
    from edge.worker.name_servers import NameServers
    from edge.worker.pools import Group

log = logging.getLogger("edge.origin")

LOOK_S: Final = 1.0
"""How often a file is looked at, and whether the holder of a desk is still there."""

FIRST_S: Final = 2.0
"""How long a new worker waits for the first answers before it serves without them."""

FRESH_S: Final = 2.0
"""A file that was changed so recently is read again: a clock's tick may hide a second change behind the first."""

LIST_BYTES: Final = 1 << 20
"""The longest file with servers."""


class Unfound(Exception):  # noqa: N818 - expected, and the message says why
    """Nothing can be said about servers now."""


@dataclass(eq=False, slots=True)
class Found:
    """What one question has brought."""

    members: tuple[Member, ...]
    again_s: float


@dataclass(eq=False, slots=True)
class Watch:
    """
    One name or file, as one worker knows it.

    Attributes:
        label: for the log.
        subject: what it is, for all processes: the question, and what is made of its answer.
        row, known: where its notices are.
        number: of the notice that was read last.
        members: what that said; the last good answer.
        failures: questions in a row that went wrong.
        cause: of the last of them; empty: the last question went right.
    """

    label: str
    subject: bytes
    known: int = 0
    row: int = 0
    number: int = 0
    members: tuple[Member, ...] = ()
    failures: int = 0
    cause: str = ""

    async def ask(self) -> Found | None:
        """
        Find the servers out; None: nothing has changed since the last time.

        Raises:
            Unfound: it cannot be said now.
        """
        raise NotImplementedError


@dataclass(eq=False, slots=True)
class NameWatch(Watch):
    """A URL whose host stands for several servers."""

    template: Member | None = None
    is_service: bool = False
    name_servers: NameServers | None = None
    settings: Settings | None = None

    async def ask(self) -> Found | None:
        """Ask the name servers."""
        from edge.worker.name_servers import NoAnswer  # noqa: PLC0415 - see there

        template, asked, settings = self.template, self.name_servers, self.settings
        assert template is not None
        assert asked is not None
        assert settings is not None
        try:
            if self.is_service:
                services, addresses, ttl_s = await asked.services(template.host)
                members = by_service(template, services, addresses)
            else:
                hosts, ttl_s = await asked.hosts(template.host)
                members = by_address(template, hosts)
        except (NoAnswer, ValueError) as why:
            raise Unfound(str(why)) from why
        if not members:
            raise Unfound(f"{template.host} has no server that can be reached")
        return Found(members, next_ask_s(ttl_s, settings.least_s, settings.most_s))


@dataclass(eq=False, slots=True)
class FileWatch(Watch):
    """A file that lists servers."""

    path: Path | None = None
    clock: Clock | None = None
    _seen: tuple[int, ...] = field(default=())

    async def ask(self) -> Found | None:
        """Read the file, if it is another one than it was."""
        assert self.clock is not None
        return await trio.to_thread.run_sync(self._look, self.clock.wall())

    def _look(self, now_wall: float) -> Found | None:
        """(In a thread: a file system may take its time.)"""
        path = self.path
        assert path is not None
        try:
            status = path.stat()
        except OSError as error:
            self._seen = ()
            raise Unfound(f"{path} cannot be read: {error.strerror}") from error
        seen = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)
        if seen == self._seen:  # if it was broken, it still is
            return None
        is_settled = abs(now_wall - status.st_mtime) > FRESH_S
        if status.st_size > LIST_BYTES:
            raise Unfound(f"{path} is larger than {LIST_BYTES >> 20} MiB")
        contents = read(path)
        if contents.error:
            raise Unfound(f"{path} {contents.error}")
        servers, problems = parse_servers(contents.data, path)
        self._seen = seen if is_settled else ()
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise Unfound(f"{problems[0]}{more}")
        return Found(Members.of(member_of(server) for server in servers).servers, LOOK_S)


class Discovery:
    """
    Every name and file that stands for servers.

    Args:
        groups: the origins of this worker, by name; told when their servers are others.
        settings: how name servers are asked.
        notices: where the node's processes tell each other.
        clock: for the age of files and rows.
        cells: this worker's counters.
    """

    def __init__(
        self, groups: Mapping[str, Group], settings: Settings, notices: Notices, clock: Clock, cells: Cells
    ) -> None:
        self._settings = settings
        self._notices = notices
        self._clock = clock
        self._cells = cells
        self._name_servers: NameServers | None = None
        self.watches: dict[bytes, Watch] = {}
        self._origins: list[tuple[Group, list[Member | Watch]]] = []
        for group in groups.values():
            if discovers(group.settings):
                self._origins.append((group, self._parts(group.settings)))
        self.look()

    def _parts(self, origin: Origin) -> list[Member | Watch]:
        """Return an origin's servers and whatever stands for some, in the order they were written."""
        parts: list[Member | Watch] = []
        for server in origin.servers:
            template = member_of(server)
            if server.discover is None:
                parts.append(template)
                continue
            subject = b"%b\0%b" % (server.discover.encode(), to_notice([template]))
            watch = NameWatch(
                server.url,
                subject,
                template=template,
                is_service=server.discover == "srv",
                name_servers=self._asked(),
                settings=self._settings,
            )
            parts.append(self._watch(watch))
        if origin.servers_file is not None:
            path = origin.servers_file
            watch_file = FileWatch(str(path), b"file\0" + bytes(path), path=path, clock=self._clock)
            parts.append(self._watch(watch_file))
        return parts

    def _watch(self, watch: Watch) -> Watch:
        """Keep one watch for each subject, however many origins have it."""
        kept = self.watches.setdefault(watch.subject, watch)
        if kept is watch:
            watch.known = hash_of(watch.subject)
            watch.row = self._notices.row(watch.subject, int(self._clock.mono()))
        return kept

    def _asked(self) -> NameServers:
        if self._name_servers is None:
            from edge.worker.name_servers import NameServers  # noqa: PLC0415 - only where names are asked for

            self._name_servers = NameServers(self._settings.nameservers, self._settings.timeout_s)
        return self._name_servers

    # -- what others have found -----------------------------------------------------------------------------

    def look(self) -> None:
        """Take up what has been put up since the last time. About once a second; 0.2 µs for each that has not changed."""
        now_s = int(self._clock.mono())
        changed: set[Watch] = set()
        for watch in self.watches.values():
            number = self._notices.number(watch.row, watch.known, now_s)
            if number == watch.number:
                continue
            if not number:  # it is being written, or the row has become another's
                self._move(watch)
                continue
            text = self._notices.read(watch.row, watch.known)
            members = None if text is None else from_notice(text)
            if text is not None:
                watch.number = number
            if members:
                watch.members = members
                changed.add(watch)
        if changed:
            for group, parts in self._origins:
                if not changed.isdisjoint(part for part in parts if isinstance(part, Watch)):
                    _renew(group, parts)

    def _move(self, watch: Watch) -> None:
        """Go to the row where the watch's notices are now."""
        row = self._notices.row(watch.subject, int(self._clock.mono()))
        if row != watch.row:
            self._notices.leave_desk(watch.row)
            watch.row = row

    @property
    def is_complete(self) -> bool:
        """Something is known of everything."""
        return all(watch.members for watch in self.watches.values())

    # -- finding out ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ask for whatever is ours to ask for. Ends at once where there is nothing to find."""
        async with trio.open_nursery() as nursery:
            for watch in self.watches.values():
                nursery.start_soon(self._tend, watch)

    async def first(self) -> None:
        """Wait until something is known of everything, but not for long."""
        with trio.move_on_after(FIRST_S):
            while not self.is_complete:
                await trio.sleep(0.01)
                self.look()

    async def _tend(self, watch: Watch) -> None:
        """Ask again and again, while nobody else does."""
        while True:
            pause_s = LOOK_S
            if self._notices.take_desk(watch.row):
                pause_s = await self._ask(watch)
            await trio.sleep(pause_s)

    async def _ask(self, watch: Watch) -> float:
        """Ask once; return in how long again."""
        try:
            found = await watch.ask()
        except Unfound as why:
            watch.failures += 1
            self._cells[names.DISCOVERED["failed"]] += 1
            # Of two questions to name servers either may fail first: that is no other cause.
            cause = str(why) if isinstance(watch, FileWatch) else "no answer"
            if watch.cause != cause:
                watch.cause = cause
                held = f"the last answer holds: {_servers(len(watch.members))}"
                log.warning("%s: %s; %s", watch.label, why, held if watch.members else "no server is known yet")
            return LOOK_S if isinstance(watch, FileWatch) else retry_s(watch.failures, self._settings.least_s)
        if found is None:
            return LOOK_S
        if watch.failures:
            log.warning("%s: there is an answer again", watch.label)
            watch.failures, watch.cause = 0, ""
        self._cells[names.DISCOVERED["found"]] += 1
        if found.members != watch.members:
            self._say(watch, found.members)
            try:
                is_up = self._notices.post(watch.row, watch.known, to_notice(found.members))
            except ValueError as why:
                log.error("%s: its servers cannot be told to others: %s", watch.label, why)
                return self._settings.most_s
            if not is_up:
                self._move(watch)
                return 0.0
            self.look()
        return found.again_s

    def _say(self, watch: Watch, members: tuple[Member, ...]) -> None:
        news = Members(watch.members).news(Members(members))
        words = [f"+{each.label}" for each in news.joined] + [f"-{each.label}" for each in news.left]
        shown = " ".join(words[:20]) + (" …" if len(words) > 20 else "") or "other weights"
        log.info("%s: %s: %s", watch.label, _servers(len(members)), shown)


def discovers(origin: Origin) -> bool:
    """Whether some of an origin's servers are found while the worker runs."""
    return origin.servers_file is not None or any(server.discover is not None for server in origin.servers)


def _renew(group: Group, parts: list[Member | Watch]) -> None:
    """Give an origin the servers that are known now, if any are."""
    members: list[Member] = []
    for part in parts:
        if isinstance(part, Watch):
            members += part.members
        else:
            members.append(part)
    if not members:
        return
    try:
        group.become(Members.of(members))
    except OSError as refused:
        log.error("origin %s: its servers stay as they were: %s", group.settings.name, refused)


def _servers(count: int) -> str:
    return "1 server" if count == 1 else f"{count} servers"
