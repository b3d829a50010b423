"""
What can be done with a request: one value of eight kinds.

    Admit        somebody must be asked first whether it may pass
    Answer       the edge's own words: a redirect, a refusal, an operator's page
    Serve        a copy that is ready in memory
    Stored       a copy whose body, or whose coding, must first be got from the store
    Combine      a copy of which parts are stored: what is missing of what is wanted is asked of the origin
    ServeStale   a copy that is stale and may be used while it is refreshed
    Fetch        ask the origin
    Tunnel       ask the origin for another protocol and carry its bytes

The fast lane carries out an Answer and a Serve, the slow lane all of them. Joining another's flight is not a decision of its
own: it is how a Fetch that is ``shared`` is carried out when its key is being fetched already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.cache.lookup import Fwd, Stale
from edge.origin.request import Aim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.cache.copy import Copy
    from edge.cache.spans import Span
    from edge.exchange.admission import Visit
    from edge.message.head import ReplyHead
    from edge.reply.prepared import Prepared


@dataclass(slots=True)
class Answer:
    """
    What the edge says itself.

    Attributes:
        outcome: RFC 9211's word for the log, ``none`` where the cache was not asked.
        word: a fault's word, or empty.
        detail: for the log: which rule, and why.
    """

    head: ReplyHead
    body: bytes
    outcome: str = "none"
    word: str = ""
    detail: str = ""


@dataclass(slots=True)
class Admit:
    """
    Whether the request may pass is not known yet: a password must be verified, keys be fetched, or a service be asked.

    Attributes:
        visit: where its admission stands; :meth:`edge.exchange.admission.Visit.advance` goes on with it.
    """

    visit: Visit


@dataclass(slots=True, weakref_slot=True, eq=False)
class Serve:
    """
    A copy that is ready.

    Attributes:
        prepared: its bytes; may be sent while ``stamp`` stands.
        copy: what it was made from.
        eligible: it is coded for clients that ask.
        coding: for the log: empty for identity.
        stamp: of the key when the store was read; -1 once the memory has let go of it.
        uses: since they were last counted where all workers' are.
    """

    prepared: Prepared
    copy: Copy
    eligible: bool
    coding: str
    stamp: int
    uses: int = 0


@dataclass(slots=True)
class Stored:
    """A copy to be read from the store in *coding*, which it may not have yet."""

    copy: Copy
    coding: bytes
    eligible: bool


@dataclass(slots=True)
class Fetch:
    """
    Ask the origin.

    Attributes:
        aim: what for.
        fwd: why.
        stale: the copy that may be used if the origin fails, and is asked about.
        others: copies for other selecting fields, whose tags may save the body.
        shared: others who want the same may join, and the reply may be stored.
        stamp: of the key when the cache was asked; while it stands, so does this decision.
        part: only these bytes are asked for; None: all of it, or what the client asked for.
    """

    aim: Aim
    fwd: Fwd
    stale: Stale | None = None
    others: Sequence[Copy] = ()
    shared: bool = False
    stamp: int = -1
    part: Span | None = None


@dataclass(slots=True)
class Combine:
    """
    Send from a copy of which parts are stored, and fetch what is missing.

    Attributes:
        copy: as it was when the cache was asked; parts may have been added.
        cache_status: what to say instead of a hit, or of ``partial`` where something is missing.
    """

    copy: Copy
    cache_status: bytes | None = None


@dataclass(slots=True)
class ServeStale:
    """Use *stored* now; carry out *refresh* behind it, once per node."""

    stored: Serve | Stored | Combine
    refresh: Fetch


@dataclass(slots=True)
class Tunnel:
    """Ask the origin for the protocol in the head's ``upgrade``."""


Decision = Admit | Answer | Serve | Stored | Combine | ServeStale | Fetch | Tunnel
