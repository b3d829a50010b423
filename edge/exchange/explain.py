"""
What would happen to a request, rule by rule, each with its source: the journey walked without taking it.

The rules are not written here a second time. The request is read by the parser that reads clients', and what is said comes from
the same functions that decide; each is asked, and its answer put into words. Nothing is fetched, stored, noted as used or
remembered, and no purge is carried out.

What cannot be known without a client or an origin is said to be unknown. With a reply's fields (``reply``) the question is also
whether that reply would be stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from edge.cache.ask import Bypassed, Method
from edge.cache.copy import IDENTITY, Copy
from edge.cache.fill import FillState
from edge.cache.freshness import Basis, control_of, lifetime
from edge.cache.lookup import Hit, Miss, Stale, Unmet, Why, lookup, select
from edge.cache.refresh import conditions
from edge.cache.spans import count, run_end
from edge.cache.storing import NUMBER, NotStored, Unstored, may_store
from edge.errors import ClientFault
from edge.exchange.answering import shown
from edge.exchange.decide import fetch_for, without_cache
from edge.exchange.decision import Fetch, Tunnel
from edge.exchange.directions import directions, own_words
from edge.exchange.guard import describe
from edge.exchange.purging import Misread, address_of
from edge.exchange.recognise import Door
from edge.http.events import Request
from edge.http.h1.server import ServerConnection
from edge.http.limits import HeadLimits
from edge.message.dates import format_date
from edge.message.head import Framing, ReplyHead
from edge.message.headers import is_token
from edge.message.ranges import UNSATISFIABLE, parse_range
from edge.origin.request import Aim
from edge.policy.access import AccessList

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.cache.ask import Ask
    from edge.config.tree import Listener
    from edge.exchange.recognise import Known
    from edge.exchange.rooms import Rooms
    from edge.message.head import Field, RequestHead

STORED_BY: Final = {
    Unstored.METHOD: "RFC 9111 §3",
    Unstored.REQUEST_BODY: "RFC 9111 §2",
    Unstored.ROUTE: "[route.cache]",
    Unstored.MIN_USES: "[route.cache] min_uses",
    Unstored.REQUEST_NO_STORE: "RFC 9111 §5.2.1.5",
    Unstored.INTERIM: "RFC 9111 §3",
    Unstored.PARTIAL: "RFC 9111 §3.3",
    Unstored.NOT_MODIFIED: "RFC 9111 §4.3.4",
    Unstored.REQUEST_SPECIFIC: "RFC 9110 §15.5",
    Unstored.MUST_UNDERSTAND: "RFC 9111 §5.2.2.3",
    Unstored.NO_STORE: "RFC 9111 §5.2.2.5",
    Unstored.PRIVATE: "RFC 9111 §5.2.2.7",
    Unstored.AUTHORIZATION: "RFC 9111 §3.5",
    Unstored.IDENTITY: "[route.access], RFC 9111 §3.5",
    Unstored.UNLIKE: "[route.cache] match_type",
    Unstored.VARY_STAR: "RFC 9111 §4.1",
    Unstored.STATUS: "RFC 9111 §4.2.2",
    Unstored.SET_COOKIE: "RFC 9111 §7.3",
    Unstored.NO_FRESHNESS: "RFC 9111 §3",
    Unstored.ALREADY_STALE: "RFC 9111 §4.2",
    Unstored.TOO_LARGE: "[cache] max_object",
    Unstored.TRUNCATED: "RFC 9111 §3.3",
    Unstored.CLIENT_LEFT: "RFC 9111 §3.3",
    Unstored.PURGED: "a purge, or RFC 9111 §4.4",
    Unstored.SUPERSEDED: "RFC 9111 §4",
    Unstored.STORE_FULL: "[cache] size",
    Unstored.STORE_BUSY: "one fill of a key at a time",
    Unstored.STORE_BROKEN: "the store",
    Unstored.OFF: "[cache] path",
}
"""Where it is written that a reply is not stored, for each reason."""

WEIGHED_BY: Final = {
    Why.EXPIRED: "RFC 9111 §4.2",
    Why.NO_CACHE: "RFC 9111 §5.2.2.4",
    Why.AHEAD: "RFC 9111 §4.2.3",
    Why.INVALIDATED: "RFC 9111 §4.4",
    Why.REQUEST_NO_CACHE: "RFC 9111 §5.2.1.4",
    Why.REQUEST_MAX_AGE: "RFC 9111 §5.2.1.1",
    Why.REQUEST_MIN_FRESH: "RFC 9111 §5.2.1.3",
}
"""Where it is written that a copy may not simply be used."""

BYPASSED_BY: Final = {
    Bypassed.METHOD: "RFC 9111 §3, RFC 9110 §9.2.3",
    Bypassed.REQUEST_BODY: "RFC 9111 §2",
    Bypassed.UPGRADE: "RFC 9110 §7.8",
    Bypassed.ROUTE_OFF: "[route.cache] enabled",
    Bypassed.ROUTE_HEADER: "[route.cache] bypass_headers",
    Bypassed.ROUTE_COOKIE: "[route.cache] bypass_cookies",
    Bypassed.ROUTE_POLICY: "[[route]] policy",
}
"""Where it is written that the cache is not asked."""

_REASON: Final = {number: reason for reason, number in NUMBER.items()}
_PORTS: Final = {"http": 80, "https": 443}
_ENDS_LINES: Final = frozenset(b"\r\n\0")


@dataclass(frozen=True, slots=True)
class Question:
    """
    What is to be explained.

    Attributes:
        scheme, authority, target: the address.
        method: of the request.
        fields: of the request, names as given.
        status, reply: of a reply whose storing is to be explained; None: no reply.
        client: the client's address; empty: one that is in no network.
    """

    scheme: bytes
    authority: bytes
    target: bytes
    method: bytes = b"GET"
    fields: tuple[Field, ...] = ()
    status: int = 200
    reply: tuple[Field, ...] | None = None
    client: str = ""


def read_question(query: Iterable[tuple[str, str]]) -> Question:
    """
    Read what is to be explained.

    Args:
        query: ``url``; ``method``; ``field`` and ``reply``, as ``Name: value``, as often as wanted; ``status``; ``client``.

    Raises:
        Misread: it cannot be a request, or names something that there is not.
    """
    address: tuple[bytes, bytes, bytes] | None = None
    method, status, client = b"GET", 200, ""
    fields: list[Field] = []
    reply: list[Field] | None = None
    for name, value in query:
        match name:
            case "url":
                address = address_of(value.encode())
            case "method":
                method = value.encode()
                if not is_token(method):
                    raise Misread(f"{value!r} is not a method")
            case "field":
                fields.append(_field(value))
            case "reply":
                reply = [*(reply or []), _field(value)]
            case "status":
                status, reply = _status(value), reply or []
            case "client":
                client = _client(value)
            case _:
                raise Misread(f"{name!r} is not known here; expected url, method, field, reply, status, or client")
    if address is None:
        raise Misread("no url is named")
    return Question(*address, method, tuple(fields), status, None if reply is None else tuple(reply), client)


def _field(text: str) -> Field:
    name, colon, value = text.encode().partition(b":")
    if not colon or not is_token(name) or not _ENDS_LINES.isdisjoint(value):
        raise Misread(f"{text!r} is not a field; expected one such as 'Accept-Encoding: br'")
    return name.lower(), value.strip(b" \t")


def _status(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) == 3 and int(text) >= 100):
        raise Misread(f"status={text} is not a status")
    return int(text)


def _client(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise Misread(f"{text!r} is not an IP address") from None


class Account:
    """The steps of an explanation, in order."""

    def __init__(self) -> None:
        self.steps: list[dict[str, str]] = []
        self.outcome = ""

    def say(self, step: str, says: str, source: str) -> None:
        """Add a step: where in the journey, what is so there, and where that is written."""
        self.steps.append({"step": step, "says": says, "source": source})

    def end(self, outcome: str) -> None:
        """Say what comes of it."""
        self.outcome = outcome


def explain(rooms: Rooms, question: Question, now_wall: float) -> dict[str, Any]:
    """
    Explain what would happen to a request now, in the worker that is asked.

    Returns:
        ``url``, ``steps`` (each with ``step``, ``says`` and ``source``), and ``outcome``, in RFC 9211's words where it has some.
    """
    account = Account()
    head = _received(rooms, question, account)
    if head is not None:
        known = _routed(rooms, question, head, account, now_wall)
        if known is not None:
            _looked_up(rooms, known, account, now_wall)
            if question.reply is not None:
                _replied(rooms, known.ask, question.status, question.reply, account, now_wall)
    url = b"%b://%b%b" % (question.scheme, question.authority, question.target)
    return {"url": shown(url), "steps": account.steps, "outcome": account.outcome}


# -- receive, admit, route -----------------------------------------------------------------------------------


def _received(rooms: Rooms, question: Question, account: Account) -> RequestHead | None:
    limits = rooms.config.limits
    parser = ServerConnection(
        question.scheme,
        HeadLimits(limits.line_bytes, limits.header_bytes, limits.header_count, rooms.steering.most_body_bytes),
    )
    lines = [b"%b %b HTTP/1.1" % (question.method, question.target), b"host: " + question.authority]
    lines += [b"%b: %b" % field for field in question.fields]
    parser.receive(b"\r\n".join(lines) + b"\r\n\r\n")
    try:
        event = parser.next_event()
    except ClientFault as fault:
        account.say("receive", f"it is refused with {fault.reply}: {fault.detail}", "RFC 9112 §2.2, §3, §5")
        account.end(f"refused with {fault.reply}")
        return None
    if not isinstance(event, Request):
        account.say("receive", "it is no complete request", "RFC 9112 §2.1")
        account.end("nothing is answered")
        return None
    account.say("receive", f"a {shown(event.head.method)} for {shown(event.head.target)}", "RFC 9112 §3")
    return event.head


def _routed(rooms: Rooms, question: Question, head: RequestHead, account: Account, now_wall: float) -> Known | None:
    listener = _listener(rooms.config.listeners, question, account)
    if listener is None:
        return None
    known = rooms.recognise(head, Door(listener, question.scheme))
    purge_from = AccessList(rooms.config.cache.purge_from)
    if head.method == b"PURGE" and purge_from and known.answer is not None and known.route is not None:
        _purged(purge_from, rooms.address(question.client, head) if question.client else "", account)
        return None
    known = rooms.picked(known, question.client)
    if known.answer is not None:
        if not _admitted(known, question.client, account):
            return None
        answer = known.answer(now_wall, question.client)
        status = answer.head.status
        if known.way is not None or status == 400:
            directions(rooms, head, known, question.client, account)
            own_words(known, answer, account)
        else:
            what, source = _refusals(listener.redirect is not None).get(status, ("it is answered here", ""))
            account.say("admit", f"{what}: {status}", source)
        account.end(f"the edge itself answers {status}")
        return None
    account.say("admit", f"taken by {listener.address}", "[[listener]]")
    directions(rooms, head, known, question.client, account)
    return known if _admitted(known, question.client, account) else None


def _listener(listeners: Iterable[Listener], question: Question, account: Account) -> Listener | None:
    """
    Choose who takes it: whose port the URL names. Of systemd's sockets, of Unix sockets and of port 0 it is not known which one
    clients see; so if no port fits, one that may be meant is assumed.
    """
    scheme = question.scheme.decode()
    taking = [each for each in listeners if each.tls is (scheme == "https")]
    if not taking:
        account.say("admit", f"no listener takes {scheme}", "[[listener]]")
        account.end("no answer")
        return None
    _, colon, named = question.authority.rpartition(b":")
    is_named = bool(colon) and named.isdigit()
    port = int(named) if is_named else _PORTS[scheme]
    for each in taking:
        if each.port == port:
            return each
    assumed = next((each for each in taking if not each.port), taking[0])
    if is_named or len(taking) > 1:
        account.say("admit", f"no listener for {scheme} has port {port}: {assumed.address} is assumed", "[[listener]]")
    return assumed


def _purged(purge_from: AccessList, address: str, account: Account) -> None:
    """Say who may purge, and whether *address* may, if it is known."""
    source = "[cache] purge_from"
    if not address:
        account.say("admit", "PURGE, from those who may: what it names is purged; others get 403", source)
        account.end("purge, or 403")
    elif purge_from.admits(address):
        account.say("admit", f"PURGE from {address}, who may: what it names is purged", source)
        account.end("purge")
    else:
        account.say("admit", f"PURGE from {address}, who may not: 403", source)
        account.end("the edge itself answers 403")


def _admitted(known: Known, client: str, account: Account) -> bool:
    """Say who guards the route; False if that is the end of it."""
    if known.guard is None:
        return True
    refused = describe(known.guard, known.head, client, account.say)
    if refused is not None:
        account.end(refused)
    return refused is None


def _refusals(redirects: bool) -> dict[int, tuple[str, str]]:
    if redirects:
        return {308: ("the listener sends everybody to https", "[[listener]] redirect, RFC 9110 §15.4.9")}
    return {
        404: ("no route takes it", "[[route]], RFC 9110 §15.5.5"),
        421: ("this listener does not serve that host", "RFC 9110 §15.5.20"),
        508: ("it has passed an edge too often", "RFC 9110 §7.6.3"),
        204: ("it is an OPTIONS that may go no further", "RFC 9110 §7.6.2"),
    }


# -- key, look up, decide ------------------------------------------------------------------------------------


def _looked_up(rooms: Rooms, known: Known, account: Account, now_wall: float) -> None:
    ask = known.ask
    account.say("key", f"{ask.key.hex()}, of scheme, authority and target", "RFC 9111 §2")
    if ask.policy is not None:
        account.say("key", "the route has rules of its own for what is stored", "[route.cache]")
        if ask.target != known.head.target:
            account.say("key", f"the origin is asked for {shown(ask.target)} instead", "[route.cache] query")
        if ask.policy.selects:
            by = ", ".join(shown(name) for name in ask.policy.selects)
            account.say("key", f"copies are told apart by {by}", "[route.cache] key_headers, key_cookies")
    if ask.bypass is not None:
        account.say("look up", f"the cache is not asked: {ask.bypass.value}", BYPASSED_BY[ask.bypass])
    decided = without_cache(known)
    if isinstance(decided, Tunnel):
        account.end("a tunnel to the origin, if it agrees")
        return
    if decided is not None:
        if ask.bypass is None:
            account.say("look up", "a condition on the origin's state is the origin's to weigh", "RFC 9111 §4.3.2")
        assert isinstance(decided, Fetch)
        account.end(f"fwd={decided.fwd.value}: passed on to the origin")
        return
    if rooms.store is None:
        account.say("look up", "nothing is ever stored", "[cache] path is not set")
        account.end("fwd=uri-miss: fetched, not stored")
        return
    copies = rooms.store.copies(ask.key)
    _selected(ask, copies, account)
    found = lookup(ask, copies, now_wall)
    if isinstance(found, Unmet):
        _weighed(found.instead, account)
        account.say("decide", "the client wants a copy or nothing: 504", "RFC 9111 §5.2.1.7")
        account.end("the edge itself answers 504")
        return
    assert isinstance(found, Hit | Stale | Miss)
    _weighed(found, account)
    if isinstance(found, Hit):
        _served(rooms, known, found, account)
        return
    _fetched(rooms, known, found, account)


def _selected(ask: Ask, copies: list[Copy], account: Account) -> None:
    if not copies:
        account.say("look up", "nothing is stored under this key", "RFC 9111 §4")
        return
    chosen = select(ask, copies)
    for copy in copies:
        differs = [
            f"{shown(name)} was {_value(value)} and is {_value(ask.selecting(name))}"
            for name, value in copy.vary
            if ask.selecting(name) != value
        ]
        if differs:
            says = "made for another request: " + "; ".join(differs)
        elif copy is chosen:
            says = "made for a request like this one" + (", and the most recent of them" if len(copies) > 1 else "")
        else:
            says = "there is a more recent one"
        account.say("select", f"copy {copy.copy_id} ({copy.status}, {copy.length} bytes): {says}", "RFC 9111 §4.1")


def _value(value: bytes | None) -> str:
    return "not sent" if value is None else repr(shown(value))


def _weighed(found: Hit | Stale | Miss, account: Account) -> None:
    if isinstance(found, Miss):
        return
    copy = found.copy
    if copy.lifetime_s:
        whose = "the origin gave it" if copy.is_explicit else "a tenth of the time since Last-Modified gives it"
        account.say("weigh", f"{whose} a lifetime of {copy.lifetime_s:g} s", "RFC 9111 §4.2.1, §4.2.2; RFC 9213 §2.2")
    else:
        account.say("weigh", "it has no lifetime: it is asked about each time", "RFC 9111 §4.2.1")
    account.say("weigh", f"it is {found.age:.0f} s old, {copy.initial_age:.0f} of them on arrival", "RFC 9111 §4.2.3")
    if isinstance(found, Hit):
        if found.ttl <= 0:
            account.say("weigh", f"it is stale by {-found.ttl:.0f} s, which the client allows", "RFC 9111 §5.2.1.2")
        return
    account.say("weigh", f"it may not simply be used: {found.why.value}", WEIGHED_BY[found.why])
    if found.while_revalidate:
        account.say("weigh", "it may be used while it is refreshed", "RFC 5861 §3")
    if found.on_error:
        account.say("weigh", "it may be used if the origin answers 500, 502, 503 or 504", "RFC 5861 §4")
    if found.on_disconnect:
        account.say("weigh", "it may be used if the origin cannot be reached", "RFC 9111 §4.2.4")


def _served(rooms: Rooms, known: Known, found: Hit, account: Account) -> None:
    ask, copy = known.ask, found.copy
    coding = _coded(rooms, known, copy, account)
    if copy.spans is not None:
        _combined(ask, copy, coding, account)
        return
    if ask.is_conditional and copy.status == 200:
        account.say("compose", "if the client's own copy still stands, it gets a 304 and no body", "RFC 9110 §13.2.2")
    if ask.range is not None and copy.status == 200:
        account.say("compose", "the range is cut from the copy", "RFC 9110 §14.2")
    account.end(f"hit; ttl={int(found.ttl)}" + ("" if coding == IDENTITY else f", as {coding.decode()}"))


def _combined(ask: Ask, copy: Copy, coding: bytes, account: Account) -> None:
    """Say what is missing of a copy of which parts are stored."""
    assert copy.spans is not None
    account.say("weigh", f"{count(copy.spans)} of its {copy.length} bytes are stored", "RFC 9111 §3.3")
    asked = parse_range(ask.range, copy.length) if coding == IDENTITY and ask.method is Method.GET else None
    if asked is UNSATISFIABLE:
        account.end("hit; there are no such bytes: 416")
        return
    pieces = asked or [(0, copy.length)]
    missing = [start for start, end in pieces if run_end(copy.spans, start, copy.length) < end]
    if not missing or ask.method is Method.HEAD:
        account.end("hit, from the parts that are stored")
        return
    account.say(
        "fetch", "what is missing is asked for with If-Range, and stored beside it", "RFC 9110 §13.1.5, §15.3.7"
    )
    account.end("fwd=partial")


def _coded(rooms: Rooms, known: Known, copy: Copy, account: Account) -> bytes:
    eligible = rooms.is_coded(copy)
    coding = rooms.coding_for(known, eligible=eligible)
    if not eligible:
        account.say("encode", "it is sent as it is: not of a kind, or a length, that is compressed", "[compression]")
    elif coding == IDENTITY:
        account.say("encode", "the client takes none of our codings, or wants a range", "RFC 9110 §12.5.3")
    else:
        where = "is stored beside it" if coding in copy.bodies else "will be made, and stored beside it"
        account.say("encode", f"the client prefers {coding.decode()}, which {where}", "RFC 9110 §12.5.3")
    return coding


def _fetched(rooms: Rooms, known: Known, found: Stale | Miss, account: Account) -> None:
    """Say how the origin would be asked, and what stands in the way of storing its reply."""
    ask = known.ask
    fetch = fetch_for(known, found, rooms.slice_bytes)
    assert rooms.store is not None
    noted = rooms.shunned.noted(ask.hash)
    if noted is not None and (reason := _REASON.get(noted[0])) is not None:
        when = format_date(noted[1]).decode()
        account.say(
            "store",
            f"the latest reply that was not stored, at about {when}, was not: {reason.value}",
            STORED_BY[reason],
        )
    purged_wall = rooms.store.purged_wall(ask.key)
    if purged_wall is not None:
        account.say("store", f"it was purged or invalidated at {format_date(purged_wall).decode()}", "RFC 9111 §4.4")
    if isinstance(found, Stale) and found.while_revalidate and fetch.shared:
        account.say("fetch", "the copy is sent at once, and refreshed behind", "RFC 5861 §3")
    if fetch.aim is Aim.REFRESH:
        asked = [found.copy] if isinstance(found, Stale) else fetch.others
        said = "; ".join(f"{shown(name)}: {shown(value)}" for name, value in conditions(asked))
        account.say("fetch", f"the origin is asked whether what we have still stands ({said})", "RFC 9111 §4.3.1")
    elif fetch.aim is Aim.WHOLE:
        account.say(
            "fetch",
            "the origin is asked for the whole reply, without the client's conditions and ranges",
            "RFC 9111 §4",
        )
    else:
        account.say("fetch", "the request is passed on as it is", "RFC 9111 §4, §5.2.1.5")
    if fetch.part is not None:
        account.say(
            "fetch",
            f"of what is longer only the bytes {fetch.part[0]}-{fetch.part[1] - 1} are asked for, whole slices around the range",
            "RFC 9110 §14.2, [route.cache] parts",
        )
    if not fetch.shared:
        account.say("fetch", "its reply is for this client alone", "RFC 9111 §3")
    elif rooms.shunned.is_shunned(ask.hash, rooms.now_s):
        account.say("fetch", "replies to this key were lately not storable: nobody waits for another's", "hit-for-miss")
    else:
        fill = rooms.store.fill_of(ask.key)
        if fill is not None and fill.state is FillState.FILLING:
            account.say(
                "fetch",
                f"it is being fetched already, {fill.landed_bytes} bytes have landed: we join",
                "one fetch per key",
            )
        else:
            account.say("fetch", "others who ask meanwhile share it", "one fetch per key")
    if isinstance(found, Stale) and found.while_revalidate and fetch.shared:
        account.end("hit, stale; refreshed behind")
    else:
        account.end(f"fwd={fetch.fwd.value}")


# -- store ---------------------------------------------------------------------------------------------------


def _replied(rooms: Rooms, ask: Ask, status: int, fields: tuple[Field, ...], account: Account, now_wall: float) -> None:
    """Say whether a reply would be stored, and for how long it would be fresh."""
    length = next((int(value) for name, value in fields if name == b"content-length" and value.isdigit()), None)
    kept = [field for field in fields if field[0] not in {b"content-length", b"transfer-encoding"}]
    framing = Framing.CHUNKED if length is None else Framing.LENGTH
    reply = ReplyHead(status, kept, framing=framing, length=length)
    cc, is_targeted = control_of(reply.index)
    if is_targeted:
        account.say("store", "CDN-Cache-Control speaks to us; Cache-Control and Expires do not", "RFC 9213 §2.2")
    lifetime_s, basis = lifetime(reply.index, cc, status, now_wall, is_targeted=is_targeted)
    if basis is Basis.NONE:
        account.say("store", "it gives no lifetime, and nothing to guess one from", "RFC 9111 §4.2.1, §4.2.2")
    else:
        account.say(
            "store",
            f"its lifetime is {lifetime_s:g} s, {'as the origin says' if basis is Basis.EXPLICIT else 'guessed'}",
            "RFC 9111 §4.2.1" if basis is Basis.EXPLICIT else "RFC 9111 §4.2.2",
        )
    if rooms.store is None:
        account.say("store", f"such a reply is not stored: {Unstored.OFF.value}", STORED_BY[Unstored.OFF])
        return
    kept_as = may_store(
        ask,
        reply,
        request_wall=now_wall,
        response_wall=now_wall,
        max_object=rooms.max_object(ask),
    )
    if isinstance(kept_as, NotStored):
        account.say("store", f"such a reply is not stored: {kept_as.reason.value}", STORED_BY[kept_as.reason])
        return
    account.say(
        "store",
        f"such a reply is stored, fresh for {max(0.0, kept_as.lifetime_s - kept_as.initial_age):g} s",
        "RFC 9111 §3",
    )
    if kept_as.vary:
        names = ", ".join(shown(name) for name, _ in kept_as.vary)
        account.say("store", f"for requests with the same {names}", "RFC 9111 §4.1")
    elif b"vary" in reply.index:
        account.say("store", "its Vary names only what we choose the coding by", "RFC 9110 §12.5.5")
