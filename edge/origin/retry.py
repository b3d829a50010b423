"""
Whether a request whose attempt failed may be sent again.

Decides from what the failure says about itself (:class:`~edge.errors.Retry`) and from what the request is. Does not
know where it would be sent next.

Invariant: a request that is not idempotent is sent again only if no byte of it can have reached an origin; nothing is
sent again once a byte of a reply has come.

Source: RFC 9110 §9.2.2 (idempotent methods); RFC 9112 §9.3.1 (a connection may close as we send on it).
"""

from __future__ import annotations

from enum import Enum

from edge.errors import Retry
from edge.origin.request import IDEMPOTENT


class Verdict(Enum):
    """The answer, with its reason."""

    AGAIN = "again"
    SPENT = "spent"  # the allowed attempts are used up
    ANSWERED = "answered"  # the origin had begun to reply
    FINAL = "final"  # the failure is about the request, or came on a fresh connection: it would happen again
    BODY = "body"  # a part of the body has been sent, and we do not have it any more
    NOT_IDEMPOTENT = "not_idempotent"  # the origin may have acted on it


def may_retry(
    retry: Retry, *, method: bytes, reused: bool, body_begun: bool, answered: bool, attempts: int, retries: int
) -> Verdict:
    """
    Judge one failed attempt.

    Args:
        retry: what the fault says.
        method: the request's.
        reused: the connection had carried an exchange before.
        body_begun: the body's first byte was given to the connection.
        answered: a byte of a reply has come.
        attempts: made so far, the failed one included.
        retries: allowed beyond the first.
    """
    if answered:
        return Verdict.ANSWERED
    if retry is Retry.NEVER or (retry is Retry.IF_REUSED and not reused):
        return Verdict.FINAL
    if body_begun:
        return Verdict.BODY
    if attempts > retries:
        return Verdict.SPENT
    if retry is not Retry.YES and method not in IDEMPOTENT:
        return Verdict.NOT_IDEMPOTENT
    return Verdict.AGAIN
