"""
One TLS context per certificate and client policy: made before the fork, chosen by name, renewed in place.

Decides versions, ciphers and options; which context answers which server name on which listener; what of a
renewal can be done on contexts that exist. Does not read certificate files (``certificates`` does) and does
not touch sockets.

Rules
    - *A context is chosen before the handshake and never swapped in it.* OpenSSL enforces the client verification of the
      context a connection was made with; a context swapped in from a callback is not enforced.
    - *A context has one client policy for its life.* Its ticket keys are its own, so a ticket from a context that
      asked for nothing opens nothing at one that asks; when an authority is taken out, the tickets go with the context.
    - *A renewal loads the new chain into the same context*, so that tickets stay good in every worker. OpenSSL keeps
      one certificate per kind of key: a renewal that changes the kind gets a new context, or the old one would go on
      being served to some.
    - *Contexts that come later are made before.* A context made after the fork has other ticket keys in every worker. A few
      spare ones are made in time, and every process takes them in the same order.

States of a renewal: read and checked as a whole, then loaded; what cannot be used changes nothing.

Invariant: in every process that got the same parcels since the fork, the same name leads to the same ticket keys.

Cost: ``choose`` is two or three dict lookups. A context is 21 KiB and 0.5 ms.

Source: RFC 9325 §3-4 (versions, ciphers, ALPN), RFC 8446 §4.6.1 (tickets), RFC 9110 §15.5.20 (misdirected requests).
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import msgspec

from edge.clock import SYSTEM, Clock
from edge.tls.certificates import ANYONE, Pair, Policy, Readings, Settings, Supply, Unusable, survey_settings
from edge.tls.memory import MemoryFile, seal, unseal
from edge.tls.names import NameTable

if TYPE_CHECKING:
    from edge.tls.certificates import ListenerSettings

CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
"""TLS 1.2: authenticated encryption with forward secrecy only (RFC 9325 §4.2). TLS 1.3 has nothing else."""

PROTOCOLS: Final = ("http/1.1",)

SPARES: Final = 16
"""Contexts kept for certificates that come by a reload: 14 KiB each, until a certificate is loaded into one."""

_VERIFY: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


class ServerContext(ssl.SSLContext):
    """
    A context clients' handshakes are answered with.

    Attributes:
        client: the policy it enforces.
    """

    client: Policy


@dataclass(slots=True)
class Parcel:
    """
    A renewal on its way to a worker.

    Attributes:
        payload: what the message says.
        fds: sealed memfds that go with it. Ours until :meth:`close`; who sends them sends copies.
    """

    payload: bytes
    fds: list[int]

    def close(self) -> None:
        """Close our descriptors."""
        while self.fds:
            os.close(self.fds.pop())


class _Changes(msgspec.Struct, frozen=True, array_like=True):
    """A parcel's content: every source in order, but only the pairs that changed."""

    sources: tuple[str, ...]
    pairs: tuple[Pair, ...]
    doors: dict[str, Policy]


@dataclass(slots=True, eq=False)
class _Slot:
    """A certificate and the contexts that serve it."""

    pair: Pair
    contexts: dict[Policy, ServerContext]
    by_door: dict[str, ServerContext] = field(default_factory=dict)


class ContextStore:
    """
    Every server context of a process.

    Args:
        supply: at least one pair.
        spares: contexts to keep for certificates that come later.

    Raises:
        Unusable: there is nothing to serve, or OpenSSL refuses something.
    """

    __slots__ = ("_names", "_slots", "_spares", "supply")

    def __init__(self, supply: Supply, *, spares: int = SPARES) -> None:
        self._slots: dict[str, _Slot] = {}
        self._spares: list[ServerContext] = []
        self.supply = Supply((), {})
        self._names: NameTable[_Slot]
        self.reload(supply)
        self._spares += [_bare() for _ in range(spares)]

    def __repr__(self) -> str:
        return f"<ContextStore {len(self._slots)} certificates, {len(self._spares)} spare contexts>"

    @classmethod
    def build(cls, config: Settings, *, readings: Readings | None = None, clock: Clock = SYSTEM) -> Self:
        """
        Read every certificate *config* names and make its contexts. For the master, before it forks.

        Raises:
            Unusable: (a ``ValueError``) a certificate cannot be used; says why, all of it.
        """
        return cls(_read(config, readings, clock))

    # -- at every connection --------------------------------------------------------------------------------

    def choose(self, server_name: bytes | None, listener: ListenerSettings) -> ServerContext:
        """
        Return the context to answer a hello with.

        Args:
            server_name: as :func:`~edge.tls.hello.read_hello` gives it; unknown and None mean the default certificate.
            listener: a TLS listener this store was made for.
        """
        return self._names.lookup(server_name).by_door[listener.address]

    def may_serve(self, context: ssl.SSLContext, listener: ListenerSettings, host: bytes) -> bool:
        """
        Whether a request for *host* may be answered on a connection whose handshake *context* has answered.

        A certificate that asks clients for theirs is not got round by naming another host in the handshake: a
        host with a policy of its own is only served where that same policy was enforced. False: answer 421.

        Args:
            context: what :meth:`choose` gave for the hello.
            listener: where the connection came in.
            host: of the request, lower case, without port.
        """
        wanted = self.choose(host.removesuffix(b"."), listener)
        return wanted.client.verify == "none" or self.vouches(context, listener, host)

    def vouches(self, context: ssl.SSLContext, listener: ListenerSettings, host: bytes) -> bool:
        """
        Whether a certificate that a client has shown to *context* counts as shown to *host*.

        Not one that was verified against another host's authorities: whoever has one from those is nobody here.
        """
        wanted = self.choose(host.removesuffix(b"."), listener)
        if wanted.client.verify == "none":
            return False
        return wanted is context or (isinstance(context, ServerContext) and context.client == wanted.client)

    @property
    def expiry(self) -> dict[str, float]:
        """Until when each certificate is valid, seconds since the epoch, by its chain's path."""
        return {pair.source: pair.not_after for pair in self.supply.pairs}

    # -- at a reload ----------------------------------------------------------------------------------------

    def renew(self, config: Settings, *, readings: Readings | None = None, clock: Clock = SYSTEM) -> Parcel | None:
        """
        Read every certificate *config* names anew and use what is new. For the master.

        Returns:
            What to send to the workers that run, or None if nothing has changed.

        Raises:
            Unusable: something cannot be used; nothing is changed.
            OSError: no descriptors left for the parcel; nothing is changed.
        """
        supply = _read(config, readings, clock)
        if supply == self.supply:
            return None
        known = set(self.supply.pairs)
        changes = _Changes(
            tuple(pair.source for pair in supply.pairs),
            tuple(pair for pair in supply.pairs if pair not in known),
            supply.doors,
        )
        parcel = Parcel(b"1", [seal(msgspec.msgpack.encode(changes), "edge-certificates")])
        try:
            self.reload(supply)
        except BaseException:
            parcel.close()
            raise
        return parcel

    def accept(self, payload: bytes, fds: list[int]) -> None:
        """
        Use a parcel the master sent. For a worker; the descriptors stay the caller's to close.

        Raises:
            Unusable: it does not fit what this process has; nothing is changed.
        """
        if payload != b"1" or len(fds) != 1:
            raise Unusable(f"certificates were sent in another form: {payload[:16]!r}, {len(fds)} descriptors")
        try:
            changes = msgspec.msgpack.decode(unseal(fds[0]), type=_Changes)
            known = {pair.source: pair for pair in (*self.supply.pairs, *changes.pairs)}
            pairs = tuple(known[source] for source in changes.sources)
        except (ValueError, KeyError, OSError) as cause:
            raise Unusable(f"certificates were sent that cannot be used: {cause}") from cause
        self.reload(Supply(pairs, changes.doors))

    def reload(self, supply: Supply) -> None:
        """
        Serve *supply* from now on. Connections and, where a context stays, tickets are not touched.

        Raises:
            Unusable: OpenSSL refuses something; nothing is changed.
        """
        slots: dict[str, _Slot] = {}
        fresh: list[tuple[_Slot, Pair]] = []
        try:
            for pair in supply.pairs:
                before = self._slots.get(pair.source)
                if before is None or before.pair.pem != pair.pem:
                    _try(pair)
                slot = _Slot(pair, {})
                if before is not None and before.pair.kind == pair.kind:
                    slot.contexts = {
                        policy: context
                        for policy, context in before.contexts.items()
                        if policy in _policies(pair, supply)
                    }
                    if before.pair.pem != pair.pem:
                        fresh.append((slot, pair))
                slots[pair.source] = slot
            names = NameTable((slot.pair.names, slot) for slot in slots.values())
            for policy in {*supply.doors.values(), *(pair.client for pair in supply.pairs)}:
                _enforce(_bare(), policy)
        except (ValueError, OSError) as cause:
            raise Unusable(str(cause)) from cause
        # All of the supply has been tried: from here on only a lack of descriptors or memory could raise.
        for slot, pair in fresh:
            _load(pair, list(slot.contexts.values()))
        for slot in slots.values():
            for address, door in supply.doors.items():
                slot.by_door[address] = self._context(slot, slot.pair.client if slot.pair.client != ANYONE else door)
        self._slots, self._names, self.supply = slots, names, supply

    def _context(self, slot: _Slot, policy: Policy) -> ServerContext:
        """Return *slot*'s context with *policy*, from the spare ones if it is not there yet."""
        context = slot.contexts.get(policy)
        if context is None:
            context = self._spares.pop(0) if self._spares else _bare()
            _enforce(context, policy)
            _load(slot.pair, [context])
            slot.contexts[policy] = context
        return context


def client_context(
    *, verify: bool = True, ca: str | os.PathLike[str] | bytes | None = None, pem: bytes | None = None
) -> ssl.SSLContext:
    """
    Make the context for TLS towards an origin: the same versions and ciphers, its certificate and name verified.

    Args:
        verify: False accepts any certificate: only for an origin reached over a path that nobody else is on.
        ca: a PEM file, or its bytes, to trust instead of the system's; an intermediate or the origin's own certificate will
            do.
        pem: chain and key to show to an origin that asks.

    Raises:
        OSError: (``ssl.SSLError`` too) *ca* or *pem* cannot be read or used.
    """
    if isinstance(ca, bytes):
        with MemoryFile(ca) as file:
            return client_context(verify=verify, ca=file.path, pem=pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _restrict(context)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is not None:
        context.load_verify_locations(cafile=os.fspath(ca))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # what is named is trusted, root or not
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if pem is not None:
        with MemoryFile(pem) as file:
            context.load_cert_chain(file.path)
    return context


def _read(config: Settings, readings: Readings | None, clock: Clock) -> Supply:
    found = survey_settings(config, now_wall=clock.wall(), readings=readings)
    if errors := found.errors:
        raise Unusable("\n".join(errors))
    return found.supply


def _restrict(context: ssl.SSLContext) -> None:
    """Speak only what is safe, in either role."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(list(PROTOCOLS))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Some builds of Python 3.11 (Debian 12's) have it on: then a reply that was cut would look whole.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF


def _bare() -> ServerContext:
    """Make a server context without certificate and policy; its ticket keys are made here."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    # The client's order: one without AES in hardware prefers ChaCha20, and every choice it has is a good one.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    # OpenSSL sends two after a full handshake; the second costs 12 µs and 250 bytes, and a client that opens a connection
    # more gets another one there.
    context.num_tickets = 1
    context.client = ANYONE
    return context


def _enforce(context: ServerContext, policy: Policy) -> None:
    """Give *context* the policy it keeps for its life."""
    context.client = policy
    if policy.verify != "none":
        context.load_verify_locations(cadata=policy.ca.decode("ascii"))
        context.verify_mode = _VERIFY[policy.verify]


def _policies(pair: Pair, supply: Supply) -> set[Policy]:
    """Every policy *pair* is served under."""
    return {pair.client} if pair.client != ANYONE else set(supply.doors.values())


def _try(pair: Pair) -> None:
    """Load *pair* where a failure does no harm: one half way would leave a context with a chain and no key."""
    _load(pair, [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)])


def _load(pair: Pair, contexts: list[ssl.SSLContext] | list[ServerContext]) -> None:
    with MemoryFile(pair.pem) as file:
        for context in contexts:
            context.load_cert_chain(file.path)
