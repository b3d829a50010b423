"""
Asking whether a request may pass, where that takes time: a password's slow hash, keys of whoever signs tokens, a service.

What is asked, and what an answer means, lies in :mod:`edge.exchange.proof`; here it is carried out, off the fast lane. All
of it is bounded: passwords are verified by two threads, with so many waiting and no more; a service has a deadline; keys are
fetched by one task for each set, in the background, and whoever needs them waits for that a while.

Whatever fails, fails closed: nobody passes because somebody could not be asked. It is said in the error log, each cause once a minute.
"""

from __future__ import annotations

import logging
import random
import traceback
from typing import TYPE_CHECKING, Final, assert_never

import trio

from edge.errors import Fault
from edge.exchange.proof import BUSY_S, AskKeys, AskPassword, AskProgram, AskService, Refused, Yes
from edge.message.head import RequestHead
from edge.observe import names
from edge.observe.ledger import add_duration
from edge.origin.request import origin_request
from edge.policy import forward_auth
from edge.policy.certificate import Shown
from edge.policy.verdict import Ruling, Unusable, ruling
from edge.worker.overrun import Call, Overruns

if TYPE_CHECKING:
    from edge.clock import Clock
    from edge.exchange.admission import Admission, Visit
    from edge.exchange.decision import Admit, Decision
    from edge.exchange.proof import Ask, Said, TokenProvider
    from edge.message.head import ReplyHead
    from edge.origin.request import OriginRequest
    from edge.policy.tokens import KeySet
    from edge.worker.means import Means
    from edge.worker.origin_exchange import OriginExchange
    from edge.worker.session import Exchange, Session

log = logging.getLogger("edge")

VERIFIERS: Final = 2
"""Threads that verify passwords: each takes a core for tens of milliseconds."""

WAITING: Final = 64
"""Passwords that wait for one of them, for about a second; more are told to come again."""

PROGRAMS: Final = 16
"""Threads for policy functions: they share one core with everything else, but may wait for something."""

FETCH_S: Final = 10.0
"""How long a fetch of keys may take, and how long a request waits for one."""

AGAIN_S: Final = 30.0
"""After a fetch of keys that failed, the next one."""


class Admitting:
    """
    Asks, on behalf of one worker's requests.

    Args:
        admission: who is asked what.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._verifiers = trio.CapacityLimiter(VERIFIERS)
        self._verifying: dict[bytes, trio.Event] = {}
        self._programs = trio.CapacityLimiter(PROGRAMS)
        self._overruns = Overruns(admission.cells, PROGRAMS)
        self._fetchers = {
            provider.name: _Fetcher(provider) for provider in admission.providers.tokens.values() if provider.is_fetched
        }

    def begin(self, means: Means) -> None:
        """Begin to fetch keys, and to interrupt functions whose time is over."""
        if self._admission.has_programs:
            means.nursery.start_soon(self._overruns.run, means.clock)
        for fetcher in self._fetchers.values():
            means.nursery.start_soon(fetcher.run, means, self._admission)

    async def admit(self, means: Means, x: Exchange, decision: Admit) -> Decision:
        """
        Ask whatever must be asked, until it is known whether the request may pass.

        Returns:
            What to do then: a refusal, or what was asked for.
        """
        visit, clock, rooms = decision.visit, means.clock, means.rooms
        x.outcome = "none"
        while True:
            assert visit.asks is not None
            asks, visit.asks = visit.asks, None
            with x.bound():
                visit.said = await self._asked(means, visit, asks)
            following = visit.advance(clock.mono(), rooms.now_wall)
            if following is None:
                x.known, x.dress = visit.known, visit.dress
                x.detail = visit.detail
                return rooms.decide(x.known, x.session.peer)
            if visit.asks is None:
                x.dress = visit.dress
                return following

    async def _asked(self, means: Means, visit: Visit, ask: Ask) -> Said:
        match ask:
            case AskPassword():
                return await self._password(means.clock, ask)
            case AskKeys():
                return await self._fetchers[ask.provider.name].wait()
            case AskService():
                return await self._service(means, visit, ask)
            case AskProgram():
                return await self._program(means, ask)
            case _:
                assert_never(ask)

    # -- passwords ------------------------------------------------------------------------------------------

    async def _password(self, clock: Clock, ask: AskPassword) -> bool | None:
        """Verify a password, once for all who say it at the same time."""
        cells = self._admission.cells
        while (other := self._verifying.get(ask.key)) is not None:
            await other.wait()
            if ask.provider.known(ask, clock.mono()):
                return True
        if self._verifiers.statistics().tasks_waiting >= WAITING:
            cells[names.PASSWORDS["busy"]] += 1
            return None
        mine = self._verifying[ask.key] = trio.Event()
        try:
            is_right = await trio.to_thread.run_sync(
                ask.provider.passwords.verify,
                ask.user,
                ask.password,
                limiter=self._verifiers,
                abandon_on_cancel=True,
            )
            if is_right:
                ask.provider.learn(ask, clock.mono())
        finally:
            if self._verifying.get(ask.key) is mine:
                del self._verifying[ask.key]
            mine.set()
        cells[names.PASSWORDS["right" if is_right else "wrong"]] += 1
        return is_right

    # -- policy functions -----------------------------------------------------------------------------------

    async def _program(self, means: Means, ask: AskProgram) -> Ruling | Refused:
        """
        Call an operator's function, in a thread of its own.

        One that does not end when its time is over is interrupted (:mod:`edge.worker.overrun`), and keeps its thread until that
        has helped. A function that keeps too many is refused at once, and no lane waits for any of it.
        """
        program, clock, cells = ask.program, means.clock, self._admission.cells
        began_mono = clock.mono()
        result, why, status = "late", f"nothing within {program.timeout_s:g}s", 503
        found: Ruling | None = None
        refused = self._overruns.refuses(program)
        if refused is not None:
            result, why = "busy", refused
        elif self._programs.statistics().tasks_waiting >= WAITING:
            result, why = "busy", f"{WAITING} requests wait for {PROGRAMS} threads already"
        else:
            call = Call(program, ask.request, began_mono + program.timeout_s)
            with trio.move_on_after(program.timeout_s):
                try:
                    said = await trio.to_thread.run_sync(call.run, limiter=self._programs, abandon_on_cancel=True)
                    found = ruling(said)
                    if found.origin is not None and found.origin not in self._admission.origins:
                        raise Unusable(f"there is no origin {found.origin!r}")
                    result = "passed" if found.reply is None else "answered"
                except Unusable as unusable:
                    found, result, why, status = None, "failed", str(unusable), 500
                except Exception as error:  # noqa: BLE001 - whatever it raises is the function's, and told
                    result, why, status = "failed", _last_line(error), 500
                finally:
                    if not call.has_ended:
                        self._overruns.add(call)
            add_duration(clock.mono() - began_mono, names.POLICY_SECONDS, cells)
        cells[names.POLICIES[result]] += 1
        if found is not None:
            return found
        self._say(means, f"policy {program.name}", why, f"its requests are refused with {status}")
        return Refused(
            status, "policy", f"policy {program.name}: {why}", retry_after_s=BUSY_S if status == 503 else None
        )

    # -- services -------------------------------------------------------------------------------------------

    async def _service(self, means: Means, visit: Visit, ask: AskService) -> Yes | Refused:
        """Ask a service."""
        provider, cells = ask.provider, self._admission.cells
        settings = provider.settings
        failure = f"no answer within {settings.timeout_s:g}s"
        with trio.move_on_after(settings.timeout_s):
            try:
                request = self._question(means, visit, ask, settings.path.encode())
                async with means.origins.exchange(settings.origin, request, visit.address.encode()) as ox:
                    reply = await ox.reply()
                    if forward_auth.is_yes(reply):
                        said = Yes(
                            forward_auth.copied(reply, provider.copied),
                            (reply.get((settings.user_header or "").encode()) or b"").decode("latin-1"),
                        )
                        await _drained(ox)
                        if forward_auth.may_be_kept(reply):
                            provider.learn(ask, said, means.clock.mono())
                        cells[names.SUBREQUESTS["yes"]] += 1
                        return said
                    if forward_auth.is_no(reply):
                        refusal = forward_auth.refusal(reply, await _body(ox, reply, forward_auth.BODY_BYTES))
                        cells[names.SUBREQUESTS["no"]] += 1
                        detail = f"forward_auth {provider.name}: it answered {reply.status}"
                        return Refused(reply.status, "forward_auth", detail, reply=refusal)
                    failure = f"it answered {reply.status}"
            except Fault as fault:
                failure = f"{fault.word}: {fault.detail}"
        cells[names.SUBREQUESTS["failed"]] += 1
        self._say(means, f"forward_auth {provider.name}", failure, "requests that need it are refused")
        return Refused(503, "forward_auth", f"forward_auth {provider.name}: {failure}", retry_after_s=BUSY_S)

    def _question(self, means: Means, visit: Visit, ask: AskService, path: bytes) -> OriginRequest:
        peer = visit.peer
        trusted = means.rooms.trusted.trusts(peer)
        head = forward_auth.question(ask.head, path)
        request = origin_request(head, peer=peer.encode(), trusted=trusted, request_id=means.next_id())
        request.fields += forward_auth.about(ask.head)
        return request

    def _say(self, means: Means, what: str, failure: str, consequence: str) -> None:
        held_back = self._admission.seldom.may_say(what, means.clock.mono(), failure)
        if held_back is not None:
            log.error("%s failed: %s; %s (%d more since the last time)", what, failure, consequence, held_back)


class _Fetcher:
    """Fetches one set of keys, again and again."""

    def __init__(self, provider: TokenProvider) -> None:
        self._provider = provider
        self._wanted = trio.Event()
        self._fetched = trio.Event()

    async def wait(self) -> bool:
        """Have the keys fetched, and wait for that; not for ever."""
        self._wanted.set()
        with trio.move_on_after(FETCH_S):
            await self._fetched.wait()
        return True

    async def run(self, means: Means, admission: Admission) -> None:
        """Fetch, now, and whenever it is time or somebody wants it."""
        provider = self._provider
        while True:
            now_mono = means.clock.mono()
            provider.asked_mono = now_mono
            provider.is_fetching = True
            try:
                keys = await self._fetch(means)
            except (Fault, ValueError) as why:
                wait_s = AGAIN_S
                admission.cells[names.JWKS_FETCHES["failed"]] += 1
                has_keys = provider.keys(means.clock.mono()) is not None
                failure = str(why) if isinstance(why, ValueError) else f"{why.word}: {why.detail}"
                held_back = admission.seldom.may_say(f"jwks {provider.name}", now_mono, failure)
                if held_back is not None:
                    log.error(
                        "jwt %s: keys cannot be fetched: %s; %s (%d more since the last time)",
                        provider.name,
                        failure,
                        "the last good ones are used" if has_keys else "nobody who needs a token passes",
                        held_back,
                    )
            except Exception:
                wait_s = AGAIN_S
                admission.cells[names.BUGS] += 1
                log.exception("an error of our own, fetching the keys of jwt %s: please report it", provider.name)
            else:
                provider.learn(keys, means.clock.mono())
                wait_s = provider.settings.refresh_s * random.uniform(0.9, 1.0)
                admission.cells[names.JWKS_FETCHES["good"]] += 1
            provider.is_fetching = False
            fetched, self._fetched = self._fetched, trio.Event()
            fetched.set()
            await self._rest(means, wait_s)

    async def _rest(self, means: Means, wait_s: float) -> None:
        """Wait until it is time again; or somebody wants keys, but not sooner than may be."""
        self._wanted = trio.Event()
        with trio.move_on_after(wait_s):
            await self._wanted.wait()
            earliest = self._provider.asked_mono + self._provider.LEAST_S
            await trio.sleep(max(0.0, earliest - means.clock.mono()))

    async def _fetch(self, means: Means) -> KeySet:
        """
        Fetch the keys once.

        Raises:
            Fault: the origin failed.
            ValueError: it is no set of keys.
        """
        from edge.policy import tokens as jose  # noqa: PLC0415 - loaded already by whoever has such a provider

        settings = self._provider.settings
        assert settings.jwks_origin is not None
        server = means.rooms.config.origins[settings.jwks_origin].servers[0]
        authority = server.host if ":" not in server.host else f"[{server.host}]"
        if server.port and server.port != {"http": 80, "https": 443}[server.scheme]:
            authority += f":{server.port}"
        head = RequestHead(
            b"GET",
            server.scheme.encode(),
            authority.encode(),
            settings.jwks_path.encode(),
            [(b"accept", b"application/json, application/jwk-set+json")],
        )
        request = origin_request(head, peer=b"", trusted=False, request_id=means.next_id(), identity=True)
        with trio.move_on_after(FETCH_S):
            async with means.origins.exchange(settings.jwks_origin, request) as ox:
                reply = await ox.reply()
                if reply.status != 200:
                    raise ValueError(f"{settings.jwks_origin} answered {reply.status} to {settings.jwks_path}")
                body = await _body(ox, reply, jose.SET_BYTES)
                if body is None:
                    raise ValueError(f"the reply to {settings.jwks_path} is longer than {jose.SET_BYTES >> 10} KiB")
                return jose.read_set(body, settings.algorithms, is_local=False)
        raise ValueError(f"{settings.jwks_origin} has not answered within {FETCH_S:g}s")


def _last_line(error: Exception) -> str:
    """Say what was raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {error}{where}"[:500]


async def _body(ox: OriginExchange, reply: ReplyHead, most: int) -> bytes | None:
    """Read a reply's body; None if it is longer than *most*."""
    if reply.length is not None and reply.length > most:
        return None
    pieces, size = [], 0
    while data := await ox.body():
        pieces.append(data)
        size += len(data)
        if size > most:
            return None
    return b"".join(pieces)


async def _drained(ox: OriginExchange) -> None:
    """Let a short body go by, so that the connection may serve again."""
    size = 0
    while size <= forward_auth.BODY_BYTES and (data := await ox.body()):
        size += len(data)


def shown_by(session: Session, host: bytes) -> Shown | None:
    """Return the certificate that a client has shown to *host*; looked for once for each session."""
    vouches = session.door.vouches
    if vouches is None or not vouches(host):
        return None
    if session.shown is None:
        der = session.stream.peer_certificate
        session.shown = Shown(der) if der else False
    return session.shown or None
