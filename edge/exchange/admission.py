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
import secrets
from copy import copy
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from cachetools import LRUCache

from edge.exchange.decision import Admit, Answer, Serve
from edge.exchange.limits import Limit, limits_of
from edge.exchange.wording import changed
from edge.message.head import Framing, ReplyHead
from edge.message.headers import tokens
from edge.observe import names
from edge.observe.error_log import Seldom
from edge.policy.certificate import Shown
from edge.policy.cors import PREFIX, Cors
from edge.policy.forward_auth import question_key
from edge.policy.identity import Identity, claim, field_value, fields_of, has, without
from edge.policy.networks import Listed, NetworkTable, Prefix, prefixes_of, read_networks
from edge.policy.passwords import Passwords, credentials, read_users, user_of
from edge.policy.rate import told as rates_told
from edge.reply.dress import Dress
from edge.reply.errors import error_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge.config.contents import Contents
    from edge.config.tree import Basic, Config, ForwardAuth, Jwt, Route
    from edge.exchange.decision import Decision
    from edge.exchange.recognise import Known
    from edge.message.head import Field, RequestHead
    from edge.observe.ledger import Cells
    from edge.policy.tokens import Key, KeySet, Reason, Terms, Verified
    from edge.share.crowd import Crowd, Seat
    from edge.share.rates import Rates

MOST_VERIFIED: Final = 4096
"""Credentials, tokens and answers of services that each provider remembers."""

MOST_DERIVED: Final = 16
"""For how many identities a head's meaning is remembered."""

BUSY_S: Final = 1
"""After how many seconds to try again, where too much is being verified or under way."""


# -- who is asked -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """
    Why a request may not pass.

    Attributes:
        status: of the reply.
        rule: of names.RULES.
        detail: for the log.
        challenge: for ``WWW-Authenticate``, with 401.
        retry_after_s: with 429 and 503.
        reply: the service's own, if it is its refusal.
    """

    status: int
    rule: str
    detail: str
    challenge: bytes | None = None
    retry_after_s: int | None = None
    reply: tuple[ReplyHead, bytes] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class AskPassword:
    """A password must be verified: ``True`` or ``False``, or ``None`` if too many are being verified."""

    provider: PasswordProvider
    user: str
    password: bytes = dataclasses.field(repr=False)
    key: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class AskKeys:
    """Keys must be fetched: ``True`` once that was tried, with whatever success."""

    provider: TokenProvider


@dataclasses.dataclass(frozen=True, slots=True)
class AskService:
    """A service must be asked: the fields the origin is told, or how it refused, or that it failed."""

    provider: ServiceProvider
    head: RequestHead
    key: bytes


Ask = AskPassword | AskKeys | AskService


class Yes(NamedTuple):
    """What a service said in favour of a request."""

    fields: tuple[Field, ...]
    user: str


Said = bool | None | Yes | Refused
"""What was answered to an Ask."""

NOTHING_SAID: Final = object()


class Provider(Protocol):
    """Somebody who can tell who a client is."""

    def check(self, visit: Visit, now_mono: float, now_wall: float) -> Identity | Refused | Ask:
        """Judge the request; ``visit.said`` holds what was answered to this provider's own Ask, once."""
        ...


class _Remembered(LRUCache[bytes, tuple[float, Any]]):
    """What was found out, each for a time, by keyed hash: the memory itself tells no secret."""

    def __init__(self) -> None:
        super().__init__(MOST_VERIFIED)
        self._secret = secrets.token_bytes(32)

    def key(self, *parts: bytes) -> bytes:
        digest = blake2b(digest_size=16, key=self._secret)
        for part in parts:
            digest.update(b"%d:" % len(part))
            digest.update(part)
        return digest.digest()

    def find(self, key: bytes, now_mono: float) -> Any:
        found = self.get(key)
        return found[1] if found is not None and now_mono < found[0] else None


class CertificateProvider:
    """Whoever has shown a certificate in the handshake."""

    def __init__(self, told: dict[bytes, str]) -> None:
        self._told = told

    def check(self, visit: Visit, now_mono: float, now_wall: float) -> Identity | Refused | Ask:  # noqa: ARG002
        """Say who has shown it."""
        shown = visit.shown
        if shown is None:
            return Refused(403, "certificate", "certificate: none was shown")
        return Identity(shown.fingerprint, {}, shown.fields(self._told))


class PasswordProvider:
    """
    People with passwords.

    Raises:
        Unreadable, ValueError: they cannot be read.
    """

    def __init__(self, settings: Basic) -> None:
        users = dict(map(user_of, settings.users))
        if settings.file is not None:
            users |= read_users(settings.file.data)
        self.name = settings.name
        self.passwords = Passwords(users.items())
        self.cache_s = settings.cache_s
        self.challenge = b'Basic realm="%b", charset="UTF-8"' % quoted(settings.realm)
        self._verified = _Remembered()

    def check(self, visit: Visit, now_mono: float, now_wall: float) -> Identity | Refused | Ask:  # noqa: ARG002
        """Say who they are whose password came along."""
        sent = visit.head.index.get(b"authorization")
        found = credentials(sent)
        if found is None:
            return Refused(401, "basic", f"basic {self.name}: no credentials", self.challenge)
        user, password = found
        said = visit.take_said()
        if said is NOTHING_SAID:
            key = self._verified.key(user.encode(), password)
            if self._verified.find(key, now_mono) is None:
                return AskPassword(self, user, password, key)
        elif said is None:
            detail = f"basic {self.name}: too many passwords are being verified"
            return Refused(503, "basic", detail, retry_after_s=BUSY_S)
        elif said is not True:
            return Refused(401, "basic", f"basic {self.name}: wrong user or password", self.challenge)
        return Identity(user, {"name": user})

    def known(self, ask: AskPassword, now_mono: float) -> bool:
        """Whether the password was verified meanwhile, for another request."""
        return self._verified.find(ask.key, now_mono) is not None

    def learn(self, ask: AskPassword, now_mono: float) -> None:
        """Remember a password that was right."""
        if self.cache_s:
            self._verified[ask.key] = (now_mono + self.cache_s, True)


class TokenProvider:
    """
    Who signs tokens. Keys that are fetched are told to :meth:`learn`.

    Attributes:
        settings: as configured.
        is_fetched: there are keys that must be fetched.
        asked_mono: when a fetch was last begun.

    Raises:
        ValueError: a key cannot be read.
    """

    LEAST_S: Final = 10.0
    """Between two fetches, whatever tokens name."""

    def __init__(self, settings: Jwt) -> None:
        from edge.policy import tokens as jose  # noqa: PLC0415 - 40 ms, for those who have tokens

        self._jose = jose
        self.settings = settings
        self.name = settings.name
        self.is_fetched = settings.jwks_origin is not None
        self.asked_mono = float("-inf")
        self._static = jose.KeySet(static_keys(settings))
        self._fetched: KeySet | None = None
        self._until_mono = float("-inf")
        self._all: KeySet | None = None if self.is_fetched and not len(self._static) else self._static
        self._terms: Terms = jose.Terms(
            settings.issuer, settings.audience, settings.leeway_s, needs_expiry=settings.require_expiry
        )
        self._told = {name.encode(): said for name, said in settings.headers}
        self._cookie = None if settings.cookie is None else settings.cookie.encode()
        self._realm = b'Bearer realm="%b"' % quoted(settings.realm)
        self._verified = _Remembered()

    def keys(self, now_mono: float) -> KeySet | None:
        """Return the keys there are; None: they were never had, or are too old by now."""
        if self._fetched is not None and now_mono >= self._until_mono:
            self._fetched = None
            self._all = self._static if len(self._static) else None
            self._verified.clear()
        return self._all

    def learn(self, keys: KeySet, now_mono: float) -> None:
        """Take fetched keys in the place of those before."""
        if self._fetched is None or self._fetched.keys != keys.keys:
            self._verified.clear()  # a key may have been taken back
        self._fetched = keys
        self._until_mono = now_mono + self.settings.keep_s
        self._all = self._jose.KeySet((*self._static.keys, *keys.keys))

    def may_fetch(self, now_mono: float) -> bool:
        """Whether a token with a strange key is reason enough to fetch now."""
        return self.is_fetched and now_mono >= self.asked_mono + self.LEAST_S

    def check(self, visit: Visit, now_mono: float, now_wall: float) -> Identity | Refused | Ask:
        """Say who a token speaks of."""
        jose, index = self._jose, visit.head.index
        said = visit.take_said()
        token = (
            jose.bearer(index.get(b"authorization"))
            if self._cookie is None
            else jose.cookie(index.get(b"cookie"), self._cookie)
        )
        if token is None:
            return Refused(401, "jwt", f"jwt {self.name}: no token", self._realm)
        keys = self.keys(now_mono)
        if keys is None:
            if said is NOTHING_SAID:
                return AskKeys(self)
            return Refused(503, "jwt", f"jwt {self.name}: there are no keys to verify with", retry_after_s=BUSY_S)
        key = self._verified.key(token)
        verified: Verified | Reason | None = self._verified.find(key, now_mono)
        if verified is None:
            verified = jose.verify(token, keys, self._terms)
            if verified is jose.Reason.KEY and said is NOTHING_SAID and self.may_fetch(now_mono):
                return AskKeys(self)
            if isinstance(verified, jose.Reason):
                return self._refused(verified)
            self._verified[key] = (float("inf"), verified)
        assert isinstance(verified, jose.Verified)
        untimely = jose.judge_times(verified, now_wall, self._terms.leeway_s)
        if untimely is not None:
            return self._refused(untimely)
        claims = verified.claims
        for name, accepted in self.settings.claims:
            if not has(claims, name, accepted):
                challenge = self._realm + b', error="insufficient_scope"'
                return Refused(403, "jwt", f"jwt {self.name}: {jose.Reason.CLAIM.value}: {name}", challenge)
        subject = claims.get("sub")
        return Identity(subject if isinstance(subject, str) else "", claims, fields_of(claims, self._told))

    def _refused(self, reason: Reason) -> Refused:
        challenge = b'%b, error="invalid_token", error_description="%b"' % (self._realm, reason.value.encode())
        return Refused(401, "jwt", f"jwt {self.name}: {reason.value}", challenge)


class ServiceProvider:
    """A service that is asked."""

    def __init__(self, settings: ForwardAuth) -> None:
        self.settings = settings
        self.name = settings.name
        self.copied = frozenset(name.encode() for name in settings.copy_headers)
        self._by = frozenset(name.encode() for name in settings.cache_by) or None
        self._said = _Remembered()

    def check(self, visit: Visit, now_mono: float, now_wall: float) -> Identity | Refused | Ask:  # noqa: ARG002
        """Say whom the service lets pass."""
        said = visit.take_said()
        if said is NOTHING_SAID:
            key = b""
            if self.settings.cache_s:
                key = self._said.key(question_key(visit.head, visit.address, self._by))
                said = self._said.find(key, now_mono)
            if not isinstance(said, Yes):
                return AskService(self, visit.head, key)
        if isinstance(said, Yes):
            return Identity(said.user, {"name": said.user} if said.user else {}, said.fields)
        assert isinstance(said, Refused)
        return said

    def learn(self, ask: AskService, said: Yes, now_mono: float) -> None:
        """Remember a yes."""
        if self.settings.cache_s:
            self._said[ask.key] = (now_mono + self.settings.cache_s, said)


class UnusableKey(ValueError):  # noqa: N818 - the key is wrong, not we
    """
    A file holds no key that can be used.

    Attributes:
        setting: that names it.
    """

    def __init__(self, setting: str, file: Contents, why: ValueError) -> None:
        super().__init__(f"{file.path}: {why}")
        self.setting = setting


def static_keys(settings: Jwt) -> list[Key]:
    """
    Return the keys that lie in files.

    Raises:
        UnusableKey: one cannot be used.
    """
    from edge.policy import tokens as jose  # noqa: PLC0415 - as above

    keys: list[Key] = []
    readers: tuple[tuple[str, Contents | None, Callable[[bytes], Iterable[Key]]], ...] = (
        ("secret_file", settings.secret_file, lambda data: [jose.secret_key(data, settings.algorithms)]),
        ("key_file", settings.key_file, lambda data: [jose.public_key(data, settings.algorithms)]),
        ("jwks_file", settings.jwks_file, lambda data: jose.read_set(data, settings.algorithms, is_local=True).keys),
    )
    for setting, file, read in readers:
        if file is not None:
            try:
                keys += read(file.data)
            except ValueError as why:
                raise UnusableKey(setting, file, why) from None
    return keys


def quoted(text: str) -> bytes:
    """Write a realm as it stands between quotes."""
    return (field_value(text) or b"").replace(b"\\", b"").replace(b'"', b"'")


# -- the rules of a route -----------------------------------------------------------------------------------


class Guard:
    """
    The rules of one route, ready to be applied.

    Attributes:
        route: whose.
        networks: who may come from where; None: from everywhere.
        providers: who can tell who asks, in the order in which they are asked.
        is_any: one of them is enough, or to come from an allowed network.
        early, late: limits that know the address alone, and limits that know who asks.
        cors: what pages of other sites may; None: nothing is said.
        certificate_told: what an origin is told of a certificate that was shown.
    """

    __slots__ = (
        "certificate_told",
        "concurrency",
        "cors",
        "early",
        "is_any",
        "is_concurrency_dry",
        "is_identified",
        "late",
        "most_of_client",
        "networks",
        "providers",
        "route",
        "tag",
    )

    def __init__(self, route: Route, tag: bytes, providers: Providers) -> None:
        access = route.access
        self.route = route
        self.tag = tag
        self.networks = providers.networks(route)
        told = {name.encode(): part for name, part in access.certificate_headers}
        self.certificate_told = told
        self.providers: list[Provider] = []
        if access.client_certificate == "required":
            self.providers.append(CertificateProvider(told))
        if access.jwt is not None:
            self.providers.append(providers.tokens[access.jwt])
        if access.basic is not None:
            self.providers.append(providers.passwords[access.basic])
        if access.forward_auth is not None:
            self.providers.append(providers.services[access.forward_auth])
        self.is_any = access.satisfy == "any"
        self.is_identified = bool(self.providers or told)
        self.early, self.late = limits_of(providers.rates, access.rates, tag)
        self.concurrency = access.concurrency
        self.most_of_client = access.client_concurrency
        self.is_concurrency_dry = access.concurrency_dry_run
        cors = route.cors
        self.cors = (
            Cors(
                cors.origins,
                methods=cors.methods,
                headers=cors.headers,
                expose=cors.expose,
                credentials=cors.credentials,
                max_age_s=cors.max_age_s,
            )
            if cors.origins
            else None
        )

    @property
    def wants_certificate(self) -> bool:
        """Whether it matters what certificate a client has shown."""
        return bool(self.certificate_told) or self.route.access.client_certificate == "required"

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(
            self.networks
            or self.is_identified
            or self.early
            or self.late
            or self.cors
            or self.concurrency
            or self.most_of_client
        )


class Providers:
    """Everybody named in a configuration who can tell who asks; and tables of networks, each made once."""

    def __init__(self, config: Config) -> None:
        self.passwords = {name: PasswordProvider(settings) for name, settings in config.basic.items()}
        self.tokens = {name: TokenProvider(settings) for name, settings in config.jwt.items()}
        self.services = {name: ServiceProvider(settings) for name, settings in config.forward_auth.items()}
        self.rates = config.rates
        self._tables: dict[Any, NetworkTable] = {}

    def networks(self, route: Route) -> NetworkTable | None:
        """Return the table of a route's networks; None if it names none."""
        access = route.access
        key = (access.allow, access.deny, access.allow_files, access.deny_files)
        if not any(key):
            return None
        if key not in self._tables:
            allow, deny = prefixes_of(access.allow), prefixes_of(access.deny)
            for files, found in ((access.allow_files, allow), (access.deny_files, deny)):
                for file in files:
                    found += _read(file.data)
            self._tables[key] = NetworkTable(allow, deny)
        return self._tables[key]


def _read(data: bytes) -> list[Prefix]:
    return read_networks(data)


def told_names(config: Config) -> frozenset[bytes]:
    """Return every field by which an origin is told who asks, on any route: clients may send none of them."""
    found: set[str] = set()
    for tokens_ in config.jwt.values():
        found.update(name for name, _ in tokens_.headers)
    for service in config.forward_auth.values():
        found.update(service.copy_headers)
    for route in config.routes:
        found.update(name for name, _ in route.access.certificate_headers)
    return frozenset(name.encode() for name in found)


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
        seldom: what is said once a minute.
    """

    def __init__(self, config: Config, cells: Cells, rates: Rates, under_way: Crowd, slot: int) -> None:
        self.providers = Providers(config)
        self.cells = cells
        self.rates = rates
        self.under_way = under_way
        self.slot = slot
        self.seldom = Seldom()
        self._told = told_names(config)
        self._config = config  # routes are known by identity: they must live as long as this
        self._guards: dict[int, Guard | None] = {}
        for at, route in enumerate(config.routes):
            guard = Guard(route, b"%d %b" % (at, f"{route.host} {route.path}".encode()), self.providers)
            self._guards[id(route)] = guard or None

    @property
    def is_needed(self) -> bool:
        """Whether any route has a guard, or any field must be taken off."""
        return bool(self._told) or any(guard is not None for guard in self._guards.values())

    def prepare(self, known: Known) -> None:
        """
        Note on a head that was just recognised who guards its route; and take off it what clients may not say.

        Raises:
            KeyError: its route is none of the configuration's: then nobody could say whether it is guarded.
        """
        if known.route is None:
            return
        guard = known.guard = self._guards[id(known.route)]
        if self._told:
            asked = known.asked
            cleaned = clean(asked, self._told)
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
        over = self._limited(guard.late, now_mono)
        if over is not None:
            return self._refused(over, now_wall)
        told = self._told()
        if told:
            self.known = derived(self.known, told)
        self._dress()
        return None

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
        word = "connection_limit_reached" if why.rule == "concurrency" else "http_request_denied"
        return Answer(head, body, word=word, detail="; ".join([*self.notes, why.detail]))

    def _challenges(self, why: Refused) -> list[bytes]:
        """Return what could be shown instead: with ``any``, all of it."""
        if why.challenge is None:
            return []
        if why.status != 401:
            return [why.challenge]
        return [one.challenge for one in self._refusals if one.challenge is not None and one.status == 401]

    # -- what is under way ----------------------------------------------------------------------------------

    def hold(self, decision: Decision, now_wall: float) -> Decision:
        """
        Count the request among those under way, if it is carried by the slow lane.

        Returns:
            The decision; or the reply that there are too many.
        """
        guard = self.guard
        if self._held or type(decision) in {Answer, Serve, Admit}:
            return decision
        if guard.concurrency is None and guard.most_of_client is None:
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


def _strongest(refusals: list[Refused]) -> Refused:
    """Choose which of several refusals is told: a service's own reply, then a failure of ours, then what to show instead."""

    def rank(one: Refused) -> int:
        if one.reply is not None:
            return 0
        return 1 if one.status == 503 else 2 if one.status == 401 else 3

    return min(refusals, key=rank)


def describe(guard: Guard, say: Callable[[str, str, str], None]) -> None:
    """
    Put a route's rules in words, in the order in which they are applied.

    Args:
        guard: the route's.
        say: takes a step, what is so there, and where that is written.
    """
    access, cors = guard.route.access, guard.route.cors
    if guard.networks is not None:
        listed = len(access.allow) + len(access.deny) + len(access.allow_files) + len(access.deny_files)
        others = (
            "who is in none of them may not pass" if guard.networks.has_allowed else "who is in none of them may pass"
        )
        say(
            "admit",
            f"the client's address is looked up in {listed} networks and files: {others}",
            "[route.access] allow, deny",
        )
    if guard.cors is not None:
        say("admit", f"pages of {', '.join(cors.origins)} may ask; a preflight is answered here", "[route.cors]")
    for limit in guard.early:
        say("admit", limit.words, f"[rate.{limit.quota.name}]")
    how = "one of these is enough" if guard.is_any and len(guard.providers) > 1 else ""
    for provider in guard.providers:
        match provider:
            case CertificateProvider():
                says, source = "it must have shown a certificate", "[route.access] client_certificate"
            case TokenProvider():
                says, source = f"it must show a token of {provider.name}", f"[jwt.{provider.name}]"
            case PasswordProvider():
                says, source = f"it must sign in with a password of {provider.name}", f"[basic.{provider.name}]"
            case ServiceProvider():
                says, source = f"the service {provider.name} is asked", f"[forward_auth.{provider.name}]"
            case _:
                raise AssertionError(provider)
        say("admit", f"{says}{'; ' + how if how else ''}", source)
    for limit in guard.late:
        say("admit", limit.words, f"[rate.{limit.quota.name}]")
    if guard.concurrency is not None:
        say("admit", f"at most {guard.concurrency} requests may be under way", "[route.access] concurrency")
    if guard.most_of_client is not None:
        say("admit", f"at most {guard.most_of_client} of each client", "[route.access] client_concurrency")
    if guard.is_identified:
        say(
            "admit",
            "it is let in for who it is: a reply is kept only if the origin says public or s-maxage",
            "RFC 9111 §3.5, edge/THREATS.md",
        )
