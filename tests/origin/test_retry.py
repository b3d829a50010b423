"""When a request may be sent again, and why not."""

import itertools

import pytest

from edge.errors import Retry
from edge.origin.request import IDEMPOTENT
from edge.origin.retry import Verdict, may_retry

GOOD = {
    "method": b"GET",
    "reused": True,
    "body_begun": False,
    "answered": False,
    "attempts": 1,
    "retries": 1,
}


@pytest.mark.parametrize(
    ("retry", "changed", "verdict"),
    [
        (Retry.IF_REUSED, {}, Verdict.AGAIN),
        (Retry.IF_REUSED, {"reused": False}, Verdict.FINAL),
        (Retry.IF_REUSED, {"method": b"POST"}, Verdict.NOT_IDEMPOTENT),
        (Retry.IF_REUSED, {"method": b"get"}, Verdict.NOT_IDEMPOTENT),
        (Retry.IF_REUSED, {"answered": True}, Verdict.ANSWERED),
        (Retry.IF_REUSED, {"body_begun": True, "method": b"PUT"}, Verdict.BODY),
        (Retry.IF_REUSED, {"attempts": 2}, Verdict.SPENT),
        (Retry.IF_REUSED, {"retries": 0}, Verdict.SPENT),
        (Retry.YES, {"method": b"POST", "reused": False}, Verdict.AGAIN),
        (Retry.YES, {"attempts": 2}, Verdict.SPENT),
        (Retry.NEVER, {}, Verdict.FINAL),
    ],
)
def test_the_reason_is_said(retry, changed, verdict):
    assert verdict is may_retry(retry, **(GOOD | changed))


def test_no_combination_sends_an_unsafe_request_twice():
    """The one rule that must hold whatever else changes."""
    for retry, method, reused, body, answered, attempts in itertools.product(
        Retry, [b"GET", b"POST", b"PATCH", b"BREW"], [True, False], [True, False], [True, False], [1, 2]
    ):
        verdict = may_retry(
            retry,
            method=method,
            reused=reused,
            body_begun=body,
            answered=answered,
            attempts=attempts,
            retries=1,
        )
        if verdict is Verdict.AGAIN:
            assert not answered
            assert not body
            assert retry is Retry.YES or (method in IDEMPOTENT and reused)
