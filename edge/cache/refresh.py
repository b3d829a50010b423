"""
What a later reply does to copies that are stored already.

Three cases: a 304 confirms a copy and brings its fields up to date; a reply to HEAD does so, or shows that the copy is out of
date; the success of an unsafe method makes what it changed invalid. Returns what to store or forget; does neither.

Invariant: never raises, and no copy given is written to.
Source: RFC 9111 §3.2, §4.3, §4.4; RFC 9110 §8.8, §13.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from edge.cache.ask import Method
from edge.cache.freshness import control_of
from edge.cache.groups import group_at, groups_of
from edge.cache.key import key_of, resolve
from edge.cache.lookup import select
from edge.cache.storing import Unstored, draft, is_for_all
from edge.cache.vary import STAR, vary_names
from edge.message.dates import format_date
from edge.message.head import index as index_of
from edge.message.headers import end_to_end, tokens
from edge.message.validators import is_etag, is_weak, weak_match

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.cache.ask import Ask
    from edge.cache.copy import Copy
    from edge.message.head import Field, ReplyHead

_TAKEN_BACK: Final = frozenset(
    {
        Unstored.NO_STORE,
        Unstored.PRIVATE,
        Unstored.IDENTITY,
        Unstored.VARY_STAR,
        Unstored.STATUS,
        Unstored.NO_FRESHNESS,
    }
)

_NOT_UPDATED: Final = frozenset({b"age", b"content-encoding", b"content-length", b"content-range"})
"""
What a 304 cannot change: the bytes we hold have their length and their coding, and our variants were made from them
(RFC 9111 §3.2). ``age`` is reckoned anew. Everything else is taken over, ``Content-Type`` and unknown fields included.
"""


@dataclass(slots=True)
class Refreshed:
    """
    A copy that the origin has confirmed.

    Attributes:
        copy: with the new fields, age and lifetime, and the old ids and bodies. Use it for this answer.
        reason: why the store may not have it, or None: then put it there instead of the old one.
        forget: with a reason: the old one must leave the store too, since the origin has taken its leave back.
            Otherwise the old one stays as it is.
    """

    copy: Copy
    reason: Unstored | None = None
    forget: bool = False


def conditions(copies: Sequence[Copy]) -> list[Field]:
    """
    Return the fields that make a request ask whether one of *copies* still stands.

    For one copy both of its validators (RFC 9110 §13.1.3 leaves the weaker to whoever has no better); for several, after a
    vary-miss, their tags. Empty if there is nothing to ask with: then the request goes out unconditionally.
    """
    tags: list[bytes] = []
    for copy in copies:
        if copy.etag is not None and copy.etag not in tags:
            tags.append(copy.etag)
    fields: list[Field] = []
    if tags:
        fields.append((b"if-none-match", b", ".join(tags)))
    if len(copies) == 1 and copies[0].last_modified is not None:
        fields.append((b"if-modified-since", copies[0].last_modified))
    return fields


def confirmed(copies: Sequence[Copy], reply: ReplyHead) -> Copy | None:
    """
    Return the copy that a 304 speaks of, among those whose validators were sent; None if it is none of them.

    A strong tag in the 304 names the copy with the same strong tag and no other; a weak one, or a date alone, the most recent
    that agrees. A 304 without any validator can only mean the one copy that was asked about.

    Source: RFC 9111 §4.3.4. Its last case is read in the sense of the request that we made ourselves.
    """
    etag = reply.index.get(b"etag")
    if etag is not None and not is_etag(etag):
        etag = None
    modified = reply.index.get(b"last-modified")
    newest = sorted(copies, key=lambda copy: (copy.date_wall, copy.response_wall), reverse=True)
    if etag is not None:
        if not is_weak(etag):
            return next((copy for copy in newest if copy.etag == etag), None) or _lone_weak(newest, etag)
        return next((copy for copy in newest if copy.etag is not None and weak_match(copy.etag, etag)), None)
    if len(copies) == 1:
        same = copies[0].last_modified
        return copies[0] if modified is None or same is None or same == modified else None
    if modified is not None:
        return next((copy for copy in newest if copy.last_modified == modified), None)
    return None


def _lone_weak(copies: Sequence[Copy], etag: bytes) -> Copy | None:
    """A server that compared our weak tag answers with its strong form now and then; alone, it can mean only that copy."""
    if len(copies) == 1 and copies[0].etag is not None and is_weak(copies[0].etag) and weak_match(copies[0].etag, etag):
        return copies[0]
    return None


def refresh(ask: Ask, copy: Copy, reply: ReplyHead, *, request_wall: float, response_wall: float) -> Refreshed:
    """
    Bring *copy* up to date with a 304 that speaks of it (see :func:`confirmed`).

    Args:
        ask: the request that the 304 answered; its selecting fields are the copy's.
        copy: as stored.
        reply: the 304's head, or a HEAD's that agrees with the copy.
        request_wall: when the request left.
        response_wall: when this head arrived.
    """
    fields = merged_fields(copy.fields, reply, response_wall)
    index = index_of(fields)
    for name in (b"age", b"connection"):  # of the 304 itself, and of this arrival only
        if name in reply.index:
            index[name] = reply.index[name]
    names = vary_names(index.get(b"vary"))
    cc, _ = control_of(index)
    fresh = draft(
        ask,
        status=copy.status,
        reason=copy.reason,
        fields=fields,
        index=index,
        names=() if names is STAR else names,
        request_wall=request_wall,
        response_wall=response_wall,
    )
    gone: Unstored | None = None
    if isinstance(fresh, Unstored):
        gone = fresh
        fresh = msgspec.structs.replace(
            copy,
            fields=fields,
            request_wall=request_wall,
            response_wall=response_wall,
            initial_age=0.0,
            is_invalid=False,
        )
    elif names is STAR:
        gone = Unstored.VARY_STAR
    elif cc.no_store and not cc.must_understand:
        gone = Unstored.NO_STORE
    elif cc.private:
        gone = Unstored.PRIVATE
    elif ask.is_authorized and not (cc.public or cc.must_revalidate or cc.s_maxage is not None):
        # The copy was stored for someone else, by the leave of fields that this 304 has replaced.
        gone = Unstored.AUTHORIZATION
    elif ask.is_identified and not is_for_all(cc):
        gone = Unstored.IDENTITY
    elif ask.cc.no_store:
        gone = Unstored.REQUEST_NO_STORE
    fresh.copy_id = copy.copy_id
    fresh.key = copy.key
    fresh.url = copy.url
    fresh.length = copy.length
    fresh.bodies = copy.bodies
    fresh.stored_wall = copy.stored_wall
    fresh.spans = copy.spans
    if fresh.etag is None:
        fresh.etag = copy.etag
    if fresh.last_modified is None:
        fresh.last_modified = copy.last_modified
    return Refreshed(fresh, gone, forget=gone in _TAKEN_BACK)


def merged_fields(stored: list[Field], reply: ReplyHead, response_wall: float) -> list[Field]:
    """
    Return the stored fields with every line of each name that *reply* has replaced by the reply's lines (RFC 9111 §3.2).

    A reply without ``Date`` is dated by its arrival (RFC 9110 §6.6.1): the old date would make it old at once.
    """
    dropped = _NOT_UPDATED.union(tokens(reply.index.get(b"connection")))
    update = [entry for entry in end_to_end(reply.fields, reply.index) if entry[0] not in dropped]
    names = {name for name, _ in update}
    if b"date" not in names:
        update.append((b"date", format_date(response_wall)))
        names.add(b"date")
    return [entry for entry in stored if entry[0] not in names] + update


def after_head(
    ask: Ask, copies: list[Copy], reply: ReplyHead, *, request_wall: float, response_wall: float
) -> Refreshed | Copy | None:
    """
    Say what the origin's reply to HEAD does to the copy that would have answered it (RFC 9111 §4.3.5).

    Returns:
        Refreshed: it agrees, put the new one. A Copy marked invalid: it differs, put that. None: no copy is concerned.
    """
    copy = select(ask, copies)
    if copy is None or reply.status != 200 or copy.status != 200:
        return None
    etag = reply.index.get(b"etag")
    modified = reply.index.get(b"last-modified")
    agrees = (
        (etag is None or etag == copy.etag)
        and (modified is None or modified == copy.last_modified)
        and (reply.length is None or reply.length == copy.length)
    )
    if not agrees:
        return msgspec.structs.replace(copy, is_invalid=True)
    return refresh(ask, copy, reply, request_wall=request_wall, response_wall=response_wall)


def _one_key(scheme: bytes, authority: bytes, target: bytes) -> tuple[bytes, ...]:
    return (key_of(scheme, authority, target),)


def invalidated_groups(ask: Ask, reply: ReplyHead) -> list[bytes]:
    """Return the groups, each with its origin, that a reply to an unsafe method makes invalid (RFC 9875 §3)."""
    value = reply.index.get(b"cache-group-invalidation")
    if value is None or ask.method is not Method.UNSAFE or not 200 <= reply.status < 400:
        return []
    origin = b"%b://%b" % (ask.scheme, ask.authority)
    return [group_at(origin, group) for group in groups_of(value)]


def invalidated(
    ask: Ask, reply: ReplyHead, keys_for: Callable[[bytes, bytes, bytes], tuple[bytes, ...]] = _one_key
) -> list[bytes]:
    """
    Return the keys that a reply to an unsafe method makes invalid: its target's, and those of ``Location`` and
    ``Content-Location`` if they lie on the same origin. Empty unless the method is unsafe and the reply no error.

    Args:
        ask: the request.
        reply: its final head.
        keys_for: gives the keys of a scheme, an authority and a target, where routes have rules of their own.

    Source: RFC 9111 §4.4.
    """
    if ask.method is not Method.UNSAFE or not 200 <= reply.status < 400:
        return []
    keys = dict.fromkeys((ask.key, *keys_for(ask.scheme, ask.authority, ask.target)))
    for name in (b"location", b"content-location"):
        value = reply.index.get(name)
        where = None if value is None else resolve(ask.scheme, ask.authority, ask.target, value)
        if where is not None and where[:2] == (ask.scheme, ask.authority):
            keys.update(dict.fromkeys(keys_for(*where)))
    return list(keys)
