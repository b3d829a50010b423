"""
Whether a request whose attempt failed may be sent again.

Decides from what kind of failure it was, from what the request is and from what its route allows. Does not know where it would be
sent next, nor whether the origin's budget allows it (:mod:`edge.origin.budget`).

Invariant: a request that is not idempotent is sent again only if no byte of it can have reached an origin; nothing is sent
again once its body has begun, or once a byte of a reply has come that was not a whole reply's head with a status that may be
tried again.

Source: RFC 9110 §9.2.2 (idempotent methods); RFC 9112 §9.3.1 (a connection may close as we send on it).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from edge.errors import Retry
from edge.origin.request import IDEMPOTENT

if TYPE_CHECKING:
    from edge.errors import Fault

TIMEOUTS: Final = frozenset({"http_response_timeout"})
"""No reply in time. One that takes no more of a request has been sent a part of it."""


class Verdict(Enum):
    """The answer, with its reason."""

    AGAIN = "again"
    SPENT = "spent"  # the allowed attempts are used up
    ANSWERED = "answered"  # the origin had begun to reply
    FINAL = "final"  # such a failure is not tried again here
    BODY = "body"  # a part of the body has been sent, and we do not have it any more
    NOT_IDEMPOTENT = "not_idempotent"  # the origin may have acted on it
    METHOD = "method"  # the route leaves this method alone


class Rules(Protocol):
    """
    What a route allows.

    Attributes:
        kinds: of failure: ``connect``, ``closed``, ``reset``, ``timeout``.
        statuses: of replies that are tried again.
        tried_methods: only these; empty: all that are idempotent.
        retries: overrides the origin's; None: the origin's.
        hedge_s: when a second server is asked beside the first; None: never.
    """

    @property
    def kinds(self) -> frozenset[str]: ...  # noqa: D102 - said above
    @property
    def statuses(self) -> frozenset[int]: ...  # noqa: D102
    @property
    def tried_methods(self) -> frozenset[bytes]: ...  # noqa: D102
    @property
    def retries(self) -> int | None: ...  # noqa: D102
    @property
    def hedge_s(self) -> float | None: ...  # noqa: D102


def failure_of(fault: Fault, *, may_be_seen: bool, reused: bool) -> str | None:
    """
    Return what kind of failure this was: ``connect``, ``closed``, ``reset`` or ``timeout``; None: none that is tried again.

    Args:
        fault: what was raised.
        may_be_seen: a byte of the request may have reached an origin.
        reused: the connection had carried an exchange before, and so may have died of age.
    """
    if fault.word in TIMEOUTS:
        return "timeout"
    if fault.retry is Retry.NEVER:
        return None
    if reused:
        return "closed"
    return "reset" if may_be_seen else "connect"


def may_retry(
    failure: str | int | None,
    rules: Rules,
    *,
    method: bytes,
    may_be_seen: bool,
    body_begun: bool,
    answered: bool,
    attempts: int,
    retries: int,
) -> Verdict:
    """
    Judge one failed attempt.

    Args:
        failure: its kind, from :func:`failure_of`, or the status of its reply.
        rules: of the route.
        method: the request's.
        may_be_seen: a byte of it may have reached an origin.
        body_begun: the body's first byte was given to the connection.
        answered: a byte of a reply has come; not asked of a status.
        attempts: made so far, the failed one included.
        retries: allowed beyond the first by the origin.
    """
    is_status = type(failure) is int
    if answered and not is_status:
        return Verdict.ANSWERED
    if failure not in (rules.statuses if is_status else rules.kinds):
        return Verdict.FINAL
    if body_begun:
        return Verdict.BODY
    if attempts > (retries if rules.retries is None else rules.retries):
        return Verdict.SPENT
    if may_be_seen and method not in IDEMPOTENT:
        return Verdict.NOT_IDEMPOTENT
    if may_be_seen and rules.tried_methods and method not in rules.tried_methods:
        return Verdict.METHOD
    return Verdict.AGAIN
