"""What may be sent again, and what never."""

import itertools

import pytest

from edge.config.origin_rules import IDEMPOTENT, STATUSES, RouteRetry
from edge.errors import OriginFault, Retry
from edge.origin.request import IDEMPOTENT as SAFE_TO_REPEAT
from edge.origin.retry import Verdict, failure_of, may_retry

USUAL = RouteRetry()
EVERYTHING = RouteRetry(on=("connect", "closed", "reset", "timeout", *STATUSES), retries=2)


def judge(failure, rules=EVERYTHING, **changes):
    facts = {
        "method": b"GET",
        "may_be_seen": True,
        "body_begun": False,
        "answered": False,
        "attempts": 1,
        "retries": 1,
    }
    return may_retry(failure, rules, **{**facts, **changes})


@pytest.mark.parametrize(
    ("word", "retry", "may_be_seen", "reused", "expected"),
    [
        ("connection_refused", Retry.YES, False, False, "connect"),
        ("connection_terminated", Retry.IF_REUSED, True, True, "closed"),
        ("connection_terminated", Retry.YES, False, True, "closed"),
        ("connection_terminated", Retry.IF_REUSED, True, False, "reset"),
        ("http_response_timeout", Retry.NEVER, True, False, "timeout"),
        ("http_response_timeout", Retry.NEVER, True, True, "timeout"),
        ("connection_write_timeout", Retry.NEVER, True, False, None),
        ("http_protocol_error", Retry.NEVER, True, True, None),
        ("http_response_incomplete", Retry.NEVER, True, True, None),
    ],
)
def test_a_failure_is_of_one_kind(word, retry, may_be_seen, reused, expected):
    fault = OriginFault("x", word=word, retry=retry)

    assert expected == failure_of(fault, may_be_seen=may_be_seen, reused=reused)


@pytest.mark.parametrize("failure", ["connect", "closed", "reset", "timeout", 429, 500, 502, 503, 504])
def test_what_the_route_names_is_tried_again_and_nothing_else(failure):
    only = RouteRetry(on=(str(failure),))

    assert Verdict.AGAIN is judge(failure, only)
    assert Verdict.FINAL is judge(failure, RouteRetry(on=()))


def test_by_default_only_what_is_no_risk_is_tried_again():
    assert [Verdict.AGAIN] * 2 == [judge(failure, USUAL) for failure in ("connect", "closed")]
    assert {Verdict.FINAL} == {judge(failure, USUAL) for failure in ("reset", "timeout", 502, 503, 504, None)}


def test_who_repeats_after_any_reset_repeats_after_a_kept_connections_too():
    assert Verdict.AGAIN is judge("closed", RouteRetry(on=("reset",)))


@pytest.mark.parametrize("failure", ["closed", "reset", "timeout", 503])
@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"LOCK", b"get"])
def test_what_is_not_idempotent_and_may_have_been_seen_is_never_sent_twice(failure, method):
    """Not by any rule: the origin may have acted on it."""
    assert Verdict.NOT_IDEMPOTENT is judge(failure, method=method)


def test_of_which_nothing_was_sent_anything_is_sent_again():
    assert Verdict.AGAIN is judge("connect", method=b"POST", may_be_seen=False)
    assert Verdict.AGAIN is judge("closed", RouteRetry(methods=("GET",)), method=b"POST", may_be_seen=False)


def test_a_route_may_leave_methods_alone():
    only_get = RouteRetry(on=("timeout",), methods=("GET",))

    assert Verdict.AGAIN is judge("timeout", only_get)
    assert Verdict.METHOD is judge("timeout", only_get, method=b"PUT")


def test_a_body_that_has_begun_is_gone():
    assert Verdict.BODY is judge("closed", method=b"PUT", body_begun=True)
    assert Verdict.BODY is judge(503, method=b"PUT", body_begun=True)


def test_nothing_is_sent_again_once_a_reply_has_begun_but_for_its_status():
    assert Verdict.ANSWERED is judge("closed", answered=True)
    assert Verdict.AGAIN is judge(503, answered=True)


def test_attempts_are_counted():
    assert Verdict.SPENT is judge("closed", USUAL, attempts=2)
    assert Verdict.SPENT is judge("closed", USUAL, retries=0)
    assert Verdict.AGAIN is judge("closed", attempts=2), "the route allows two"
    assert Verdict.SPENT is judge("closed", attempts=3)


def test_every_verdict_can_be_had():
    kinds = [None, "connect", "closed", "reset", "timeout", 503]
    rules = [USUAL, EVERYTHING, RouteRetry(on=("timeout",), methods=("PUT",))]
    seen = {
        judge(kind, rule, method=method, may_be_seen=seen, body_begun=body, answered=answered, attempts=attempts)
        for kind, rule, method, seen, body, answered, attempts in itertools.product(
            kinds, rules, [b"GET", b"POST"], [True, False], [True, False], [True, False], [1, 3]
        )
    }

    assert set(Verdict) == seen


def test_the_configuration_knows_the_idempotent_methods():
    assert {method.encode() for method in IDEMPOTENT} == SAFE_TO_REPEAT
