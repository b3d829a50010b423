"""
May this client's request pass, on a route that does not let everybody: the step between recognising a head and deciding about it.

What a head means is remembered for all clients that send it; this is not, for it depends on who asks and when. A route with
rules has a :class:`Guard`, made once; each request to it makes a :class:`Visit`, which goes through these, in this order:

    networks       the client's address; a denied one is never heard any further
    preflight      a browser's question what pages of other sites may do, answered here
    rates          limits by address, network, header or route: before anything that costs
    certificate, token, password, service
                   who asks; all of them, or with ``satisfy = "any"`` one
    rates          limits by user or claim
    policy         an operator's function, which may answer, change what the origin is told, or choose another
    concurrency    how many are under way, for what the slow lane will carry

Where somebody must be asked (a slow hash, keys that are not here, a service), the visit says so (:class:`Admit`), the slow
lane asks, and the visit goes on. What was learned is remembered here, in bounded memories whose keys are keyed hashes.

The rule that keeps one client's reply from another: *the check comes first, whatever the cache has*; and what is admitted by
identity is stored only where the origin says that it is for all who are admitted (:func:`edge.cache.storing.is_for_all`).
What an origin is told of a client is a part of the question: it stands in the head that the cache sees, so ``Vary`` and
``key_headers`` tell copies apart by it. Fields of these names that clients send are taken off on *every* route.

Knows no sockets, and waits for nobody.
"""

from __future__ import annotations

import dataclasses
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from edge.cache.ask import Bypassed
from edge.exchange.decision import Admit, Answer, Serve
from edge.exchange.guard import Guard, Providers, told_names
from edge.exchange.limits import Limit
from edge.exchange.proof import BUSY_S, NOTHING_SAID, Ask, Refused
from edge.exchange.wording import changed
from edge.message.dates import format_date
from edge.message.head import Framing, ReplyHead
from edge.message.headers import tokens
from edge.observe import names
from edge.observe.error_log import Seldom
from edge.policy.cors import PREFIX, Cors
from edge.policy.identity import Identity, claim, field_value, without
from edge.policy.networks import Listed
from edge.policy.rate import told as rates_told
from edge.policy.verdict import Request, Ruling
from edge.reply.dress import Dress
from edge.reply.errors import error_reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.config.tree import Config
    from edge.exchange.decision import Decision
    from edge.exchange.recognise import Known
    from edge.message.head import Field, RequestHead
    from edge.observe.ledger import Cells
    from edge.policy.certificate import Shown
    from edge.share.crowd import Crowd, Seat
    from edge.share.rates import Rates

MOST_DERIVED: Final = 16
"""For how many identities a head's meaning is remembered."""


class Admission:
    """
    The guards of one worker, and what they share.

    Args:
        config: whose routes.
        cells: this slot's counters.
        rates: what senders owe, on the whole node.
        under_way: how many requests of a kind are being carried, on the whole node.
        slot: whose row in *under_way* is ours.

    Attributes:
        providers: everybody who can tell who asks.
        told: the fields by which origins are told who asks, on any route.
        seldom: what is said once a minute.
    """

    def __init__(self, config: Config, cells: Cells, rates: Rates, under_way: Crowd, slot: int) -> None:
        self.providers = Providers(config)
        self.cells = cells
        self.rates = rates
        self.under_way = under_way
        self.slot = slot
        self.seldom = Seldom()
        self.told = told_names(config)
        self.origins = config.origins
        self._config = config  # routes are known by identity: they must live as long as this
        self._guards: dict[int, Guard | None] = {}
        for at, route in enumerate(config.routes):
            guard = Guard(route, b"%d %b" % (at, f"{route.host} {route.path}".encode()), self.providers)
            self._guards[id(route)] = guard or None

    @property
    def is_needed(self) -> bool:
        """Whether any route has a guard, or any field must be taken off."""
        return bool(self.told) or any(guard is not None for guard in self._guards.values())

    @property
    def has_programs(self) -> bool:
        """Whether any route has a policy function."""
        return any(guard is not None and guard.program is not None for guard in self._guards.values())

    def prepare(self, known: Known) -> None:
        """
        Note on a head that was just recognised who guards its route; and take off it what clients may not say.

        Raises:
            KeyError: its route is none of the configuration's: then nobody could say whether it is guarded.
        """
        if known.route is None:
            return
        guard = known.guard = self._guards[id(known.route)]
        if self.told:
            asked = known.asked
            cleaned = clean(asked, self.told)
            if cleaned is not asked:
                reask(known, cleaned)
        if guard is not None and guard.is_identified:
            known.ask.is_identified = True

    def visit(self, known: Known, peer: str, address: str, shown: Shown | None) -> Visit:
        """
        Begin the admission of one request.

        Args:
            known: what its head means.
            peer: the address at the other end of the connection.
            address: the client's, as far as anyone is believed.
            shown: the certificate it has shown, if its guard wants to know.
        """
        assert known.guard is not None
        return Visit(self, known, known.guard, peer, address, shown)


def clean(head: RequestHead, names_: frozenset[bytes]) -> RequestHead:
    """
    Return *head* without fields of these names, however spelled, and without ``Connection`` naming one of them.

    What ``Connection`` names is dropped on the way to the origin: a client must not be able to drop what we add.
    """
    fields = without(head.fields, names_)
    connection = head.index.get(b"connection")
    if connection is not None and not names_.isdisjoint(tokens(connection)):
        left = b", ".join([token for token in tokens(connection) if token not in names_])
        fields = [entry for entry in fields if entry[0] != b"connection"]
        if left:
            fields.append((b"connection", left))
    if fields is head.fields:
        return head
    return dataclasses.replace(head, fields=fields, index={}, known=None)


def reask(known: Known, asked: RequestHead) -> None:
    """Have *known* ask for the same thing with other fields. What they select among copies is worked out anew."""
    known.asked = asked
    known.ask = dataclasses.replace(known.ask, index=asked.index, _selected={})


def derived(known: Known, told: tuple[Field, ...]) -> Known:
    """
    Return what *known* means when the origin is told *told* of who asks.

    Cost: 10 µs the first time for each identity, then a dictionary lookup.
    """
    memory = known.derived
    if memory is None:
        memory = known.derived = {}
    found = memory.get(told)
    if found is None:
        asked = known.asked
        found = copy(known)
        found.derived = None
        found.serve = lambda: None
        reask(found, dataclasses.replace(asked, fields=[*asked.fields, *told], index={}, known=None))
        if len(memory) >= MOST_DERIVED:
            memory.clear()
        memory[told] = found
    return found


# -- one request --------------------------------------------------------------------------------------------


class Visit:
    """
    The admission of one request.

    Attributes:
        known: what it means; once it is admitted, with what the origin is told of who asks.
        head: the client's own.
        peer: the address at the other end of the connection.
        address: the client's, as far as anyone is believed.
        shown: the certificate it has shown, if it was looked for.
        said: what was answered to the last Ask.
        asks: what must be asked before it can go on.
        identities: who it is, in the eyes of each who was asked.
        notes: what would have refused it, were it not a dry run; for the log.
        dress: what its reply wears.
    """

    __slots__ = (
        "_admission",
        "_at",
        "_begun",
        "_debts",
        "_held",
        "_is_charged",
        "_refusals",
        "address",
        "asks",
        "dress",
        "guard",
        "head",
        "identities",
        "known",
        "notes",
        "peer",
        "said",
        "shown",
    )

    def __init__(
        self, admission: Admission, known: Known, guard: Guard, peer: str, address: str, shown: Shown | None
    ) -> None:
        self._admission = admission
        self.known = known
        self.guard = guard
        self.head = known.head
        self.peer = peer
        self.address = address
        self.shown = shown
        self.said: Any = NOTHING_SAID
        self.asks: Ask | None = None
        self.identities: list[Identity] = []
        self.notes: list[str] = []
        self.dress: Dress | None = None
        self._at = 0
        self._begun = False
        self._is_charged = False
        self._refusals: list[Refused] = []
        self._debts: list[tuple[Limit, int]] = []
        self._held: list[Seat] = []

    @property
    def detail(self) -> str:
        """What is logged of a request that passed."""
        return "; ".join(self.notes)

    def take_said(self) -> Any:
        """Return what was answered to the last Ask, once."""
        said, self.said = self.said, NOTHING_SAID
        return said

    def advance(self, now_mono: float, now_wall: float) -> Answer | Admit | None:
        """
        Go on with the admission as far as it goes.

        Returns:
            None: it is admitted, and ``known`` is what is to be decided about. An Answer: it is not, or all is said.
            An Admit: ``asks`` must be asked; then set ``said``, and call this again.
        """
        if not self._begun:
            self._begun = True
            answered = self._begin(now_mono, now_wall)
            if answered is not None:
                return answered
        guard = self.guard
        while self._at < len(guard.providers):
            found = guard.providers[self._at].check(self, now_mono, now_wall)
            if type(found) is Identity:
                self.identities.append(found)
                self._at = len(guard.providers) if guard.is_any else self._at + 1
                self._refusals.clear()
            elif type(found) is Refused:
                self._at += 1
                self._refusals.append(found)
                if not guard.is_any:
                    break
            else:
                assert not isinstance(found, Identity | Refused)
                self.asks = found
                return Admit(self)
        if self._refusals:
            return self._refused(_strongest(self._refusals), now_wall)
        if not self._is_charged:  # an operator's function may have to be asked, and then this is passed twice
            self._is_charged = True
            over = self._limited(guard.late, now_mono)
            if over is not None:
                return self._refused(over, now_wall)
        told = self._told()
        if guard.program is not None:
            found_out = guard.program.check(self)
            if type(found_out) is Refused:
                return self._refused(found_out, now_wall)
            if type(found_out) is not Ruling:
                assert not isinstance(found_out, Refused | Ruling)
                self.asks = found_out
                return Admit(self)
            if found_out.reply is not None:
                return self._responded(found_out.reply, now_wall)
            told = self._ruled(found_out, told)
        if told:
            self.known = derived(self.known, told)
        self._dress()
        return None

    def request(self) -> Request:
        """Return what an operator's function may see."""
        head = self.known.asked
        route = self.known.route
        return Request(
            head.method.decode("latin-1"),
            head.scheme.decode(),
            head.host.decode("latin-1"),
            head.path.decode("latin-1"),
            None if head.query is None else head.query.decode("latin-1"),
            tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.fields),
            self.address,
            self.user(),
            "" if route is None else route.label,
        )

    def _ruled(self, rule: Ruling, told: tuple[Field, ...]) -> tuple[Field, ...]:
        """Carry out what a function has said of a request that may pass; return what the origin is told."""
        known = self.known
        if rule.removed or rule.origin is not None:
            known = copy(known)
            known.derived = None
            known.serve = lambda: None
            reask(known, clean(known.asked, rule.removed))
        if rule.origin is not None and (known.origin is None or known.origin.name != rule.origin):
            known.origin = self._admission.origins[rule.origin]
            known.ask = dataclasses.replace(known.ask, bypass=Bypassed.ROUTE_POLICY)
            known.direct = False
        self.known = known
        return (*(entry for entry in told if entry[0] not in rule.removed), *rule.told)

    def _responded(self, reply: tuple[int, tuple[Field, ...], bytes], now_wall: float) -> Answer:
        """Make the reply that a function has given."""
        status, fields, body = reply
        said = {name for name, _ in fields}
        sent = [(b"date", format_date(now_wall)), *fields]
        if b"cache-control" not in said:
            sent.append((b"cache-control", b"no-store"))
        has_none = self.head.method == b"HEAD" or not body
        framing = Framing.NONE if has_none else Framing.LENGTH
        self._dress()
        head = ReplyHead(status, sent, framing=framing, length=None if status == 204 else len(body))
        return Answer(changed(self.known, head), b"" if has_none else body, detail="policy: answered")

    def _begin(self, now_mono: float, now_wall: float) -> Answer | None:
        """Go through what depends on the address and the head alone."""
        guard = self.guard
        if guard.networks is not None:
            listed = guard.networks.listed(self.address)
            if listed is Listed.ALLOWED and guard.is_any:
                self._at = len(guard.providers)
            elif listed is Listed.DENIED or (listed is Listed.NOWHERE and guard.networks.has_allowed):
                where = "is denied" if listed is Listed.DENIED else "is not among those allowed"
                refused = Refused(403, "network", f"network: {self.address or 'no address'} {where}")
                if listed is Listed.DENIED or not guard.is_any or not guard.providers:
                    return self._refused(refused, now_wall)
        if guard.cors is not None and guard.cors.is_preflight(self.head):
            return self._preflight(guard.cors, now_wall)
        over = self._limited(guard.early, now_mono)
        return None if over is None else self._refused(over, now_wall)

    def _preflight(self, cors: Cors, now_wall: float) -> Answer:
        fields = cors.preflight(self.head)
        if fields is None:
            return self._refused(Refused(403, "cors", "cors: this page may not do that"), now_wall)
        self._admission.cells[names.PREFLIGHTS] += 1
        return Answer(ReplyHead(204, [(b"cache-control", b"no-store"), *fields], framing=Framing.NONE), b"")

    def _limited(self, limits: Iterable[Limit], now_mono: float) -> Refused | None:
        """Charge a request to every limit, or to none and say which one is used up."""
        if not limits:
            return None
        rates = self._admission.rates
        now_us = int(now_mono * 1_000_000)
        charged = []
        over: tuple[Limit, int] | None = None
        for limit in limits:
            key_hash = rates.hash(limit.key(self))
            spot = rates.look(key_hash, now_us)
            owed = limit.quota.owed(spot.debt_us)
            if owed is not None:
                charged.append((limit, key_hash, spot, owed))
                continue
            if limit.is_dry:
                self._note(f"rate {limit.quota.name} (dry run)")
                continue
            self._debts.append((limit, spot.debt_us))
            over = over or (limit, spot.debt_us)
        if over is None:
            for limit, key_hash, spot, owed in charged:
                while not rates.write(spot, key_hash, owed, now_us):
                    spot = rates.look(key_hash, now_us)
                    again = limit.quota.owed(spot.debt_us)
                    if again is None:  # others were quicker, and took the last of it
                        over = over or (limit, spot.debt_us)
                        owed = spot.debt_us
                        break
                    owed = again
                if not limit.is_dry:
                    self._debts.append((limit, owed))
        if over is None or over[0].is_dry:
            return None
        limit, debt_us = over
        detail = f"rate {limit.quota.name}"
        return Refused(429, "rate", detail, retry_after_s=limit.quota.wait_s(debt_us))

    def _note(self, what: str) -> None:
        self._admission.cells[names.DRY_RUNS] += 1
        self.notes.append(what)

    def _told(self) -> tuple[Field, ...]:
        """Return what the origin is told: of several who tell the same, the last."""
        found: dict[bytes, list[Field]] = {}
        told: list[tuple[Field, ...]] = [identity.fields for identity in self.identities]
        if self.shown is not None and self.guard.certificate_told:
            told.insert(0, self.shown.fields(self.guard.certificate_told))
        for fields in told:
            mine: dict[bytes, list[Field]] = {}
            for entry in fields:
                mine.setdefault(entry[0], []).append(entry)
            found |= mine
        return tuple(entry for entries in found.values() for entry in entries)

    def _dress(self) -> None:
        fields = rates_told((limit.quota, debt) for limit, debt in self._debts)
        cors = self.guard.cors
        if cors is not None:
            fields += cors.fields(self.head)
        if fields:
            self.dress = Dress(fields, None if cors is None else PREFIX)

    def _refused(self, why: Refused, now_wall: float) -> Answer:
        """Make the reply for a request that may not pass."""
        self._admission.cells[names.REFUSED[why.rule]] += 1
        self._dress()
        if why.reply is not None:
            head, body = why.reply
            if self.head.method == b"HEAD":
                head, body = dataclasses.replace(head, framing=Framing.NONE), b""
        else:
            head, body = error_reply(
                why.status,
                now_wall=now_wall,
                accept=self.head.get(b"accept"),
                retry_after_s=why.retry_after_s,
                extra=tuple((b"www-authenticate", one) for one in self._challenges(why)),
                to_head=self.head.method == b"HEAD",
                pages=self.known.pages,
            )
            head = changed(self.known, head)
        return Answer(head, body, word=_word(why), detail="; ".join([*self.notes, why.detail]))

    def _challenges(self, why: Refused) -> list[bytes]:
        """Return what could be shown instead: with ``any``, all of it."""
        if why.challenge is None:
            return []
        if why.status != 401:
            return [why.challenge]
        return [one.challenge for one in self._refusals if one.challenge is not None and one.status == 401]

    # -- what is under way ----------------------------------------------------------------------------------

    @property
    def is_uncounted(self) -> bool:
        """Whether nothing limits how many are under way."""
        return self.guard.concurrency is None and self.guard.most_of_client is None

    def hold(self, decision: Decision, now_wall: float) -> Decision:
        """
        Count the request among those under way, if it is carried by the slow lane.

        Returns:
            The decision; or the reply that there are too many.
        """
        guard = self.guard
        if self._held or type(decision) in {Answer, Serve, Admit}:
            return decision
        if self.is_uncounted:
            return decision
        under_way = self._admission.under_way
        wanted = []
        if guard.concurrency is not None:
            wanted.append((guard.tag, guard.concurrency, 503))
        if guard.most_of_client is not None:
            wanted.append((b"%b client %b" % (guard.tag, Limit.client(self.address)), guard.most_of_client, 429))
        taken = []
        for key, most, status in wanted:
            seat = under_way.seat(key)
            if under_way.count(seat) >= most:
                what = f"concurrency: {most} are under way" + (" of this client" if status == 429 else "")
                if not guard.is_concurrency_dry:
                    return self._refused(Refused(status, "concurrency", what, retry_after_s=BUSY_S), now_wall)
                self._note(what + " (dry run)")
            taken.append(seat)
        for seat in taken:
            under_way.take(self._admission.slot, seat)
        self._held = taken
        return decision

    def release(self) -> None:
        """It is under way no more. May be called twice."""
        held, self._held = self._held, []
        for seat in held:
            self._admission.under_way.leave(self._admission.slot, seat)

    def believable(self) -> RequestHead:
        """Return the client's head without what it cannot be believed about itself."""
        return clean(self.head, self._admission.told)

    # -- what limits count by -------------------------------------------------------------------------------

    def user(self) -> str:
        """Return what the client is called, by the first who named it."""
        return next((identity.name for identity in self.identities if identity.name), "")

    def claimed(self, name: str) -> bytes | None:
        """Return a claim as text, by the first who made it."""
        for identity in self.identities:
            value = field_value(claim(identity.claims, name))
            if value is not None:
                return value
        return None


def _word(why: Refused) -> str:
    """Return RFC 9209's word for a refusal: what we were short of, whom we could not ask, or that it is the client's affair."""
    if why.rule == "concurrency" or (why.rule == "basic" and why.status == 503):
        return "connection_limit_reached"
    return "destination_unavailable" if why.status == 503 else "http_request_denied"


def _strongest(refusals: list[Refused]) -> Refused:
    """Choose which of several refusals is told: a service's own reply, then a failure of ours, then what to show instead."""

    def rank(one: Refused) -> int:
        if one.reply is not None:
            return 0
        return 1 if one.status == 503 else 2 if one.status == 401 else 3

    return min(refusals, key=rank)
