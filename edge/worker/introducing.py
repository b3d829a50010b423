"""
What we say to an origin of whose request this is: in a PROXY header, and in fields that an operator has us send.

The client's own, as everywhere: if a proxy of ours has named him, his address counts, and his port is not known. What nobody
waits for (a refresh) we ask for ourselves.

Source: "The PROXY protocol", §2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.message.proxy_protocol import NOWHERE, Ends, write_header
from edge.origin.request import UNKNOWN

if TYPE_CHECKING:
    from edge.worker.means import Means
    from edge.worker.session import Exchange, Session


def introduction(means: Means, x: Exchange, version: int) -> bytes:
    """Return the header of this *version* that a connection for *x* begins with."""
    if not x.is_attended:
        return write_header(NOWHERE, version)
    ends = ends_of(x.session)
    client = means.rooms.address(x.session.peer, x.head)
    if client != ends.source:
        ends = Ends(client, 0, ends.destination, ends.destination_port)
    try:
        return write_header(ends, version)
    except ValueError:  # an address nobody knows how to write: a peer that is none, or whom a proxy called "unknown"
        return write_header(NOWHERE, version)


def address_of(means: Means, x: Exchange) -> bytes:
    """Return the client's address as text, for balancing; empty where nobody waits."""
    return means.rooms.address(x.session.peer, x.head).encode() if x.is_attended else b""


def told(means: Means, x: Exchange) -> dict[str, bytes]:
    """What an operator may have the origin told of a request: of its query, where a reply may be everybody's, what is in the key."""
    head, ask = x.head, x.known.ask
    target = head.target if ask.policy is None or ask.bypass is not None else ask.policy.target(head.target)
    path, mark, query = target.partition(b"?")
    return {
        "client": address_of(means, x) or UNKNOWN,
        "scheme": head.scheme,
        "host": head.host,
        "authority": head.authority,
        "path": path,
        "query": mark + query,
        "target": target,
        "request_id": x.request_id,
    }


def ends_of(session: Session) -> Ends:
    """Return both ends of a client's connection, as a balancer told us or as its socket says; remembered."""
    ends = session.ends
    if ends is None:
        ends = session.ends = _asked(session)
    return ends


def _asked(session: Session) -> Ends:
    try:
        theirs, ours = session.sock.getpeername(), session.sock.getsockname()
    except OSError:  # getpeername(2): it has left already
        return Ends(session.peer)
    if not isinstance(theirs, tuple):  # a Unix socket
        return Ends(session.peer)
    return Ends(session.peer, theirs[1], ours[0].removeprefix("::ffff:"), ours[1])
