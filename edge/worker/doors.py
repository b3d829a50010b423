"""
The doors sessions come in by: one per listener, and with TLS one per context that a server name chose.

A door remembers the heads that were parsed for its sessions. It also knows which hosts may be asked for through it: a
certificate that demands client certificates is not got round by naming another host in the handshake and the guarded
one in the request.

Source: RFC 9110 §7.4, §15.5.20.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.exchange.recognise import Door
from edge.policy.access import AccessList

if TYPE_CHECKING:
    import ssl

    from edge.config.tree import Listener
    from edge.tls.contexts import ContextStore


class Doors:
    """
    Every door of this worker.

    Args:
        contexts: None if no listener speaks TLS.
    """

    def __init__(self, contexts: ContextStore | None) -> None:
        self._contexts = contexts
        self._doors: dict[tuple[int, ssl.SSLContext | None], Door] = {}
        self._listeners: dict[int, Listener] = {}

    def plain(self, listener: Listener, *, is_admin: bool = False) -> Door:
        """Return the door of a listener, before (or without) a server name."""
        return self._door(listener, None, b"http", is_admin=is_admin)

    def named(self, listener: Listener, server_name: bytes | None) -> Door:
        """Return the door that a server name opens on a TLS listener."""
        assert self._contexts is not None
        return self._door(listener, self._contexts.choose(server_name, listener), b"https")

    def _door(
        self, listener: Listener, context: ssl.SSLContext | None, scheme: bytes, *, is_admin: bool = False
    ) -> Door:
        key = (id(listener), context)
        door = self._doors.get(key)
        if door is None:
            self._listeners[id(listener)] = listener  # keeps the id its own
            door = Door(listener, scheme, context, is_admin)
            if context is None and listener.proxy_protocol_from:
                door.introducers = AccessList(listener.proxy_protocol_from)
            contexts = self._contexts
            if context is not None and contexts is not None:
                door.may_serve = lambda host: contexts.may_serve(context, listener, host)
                door.vouches = lambda host: contexts.vouches(context, listener, host)
            self._doors[key] = door
        return door

    def renewed(self) -> None:
        """Certificates have changed: which host may come through which door may have, too."""
        for door in self._doors.values():
            door.memo.clear()
