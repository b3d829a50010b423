"""RFC 9110 §13.2.2 as a table, and its precedence."""

from __future__ import annotations

import pytest

from edge.message.validators import ANY
from edge.reply.conditional import Condition, evaluate

PROCEED, NOT_MODIFIED, FAILED = Condition.PROCEED, Condition.NOT_MODIFIED, Condition.PRECONDITION_FAILED
A, B, WEAK_A = b'"a"', b'"b"', b'W/"a"'


@pytest.mark.parametrize(
    ("safe", "etag", "last_modified", "conditions", "expected"),
    [
        (True, A, 100, {}, PROCEED),
        # If-None-Match: weak comparison
        (True, A, 100, {"if_none_match": [A]}, NOT_MODIFIED),
        (True, A, 100, {"if_none_match": [B, WEAK_A]}, NOT_MODIFIED),
        (True, WEAK_A, 100, {"if_none_match": [A]}, NOT_MODIFIED),
        (True, A, 100, {"if_none_match": [B]}, PROCEED),
        (True, A, 100, {"if_none_match": []}, PROCEED),
        (True, None, 100, {"if_none_match": [A]}, PROCEED),
        (True, None, None, {"if_none_match": ANY}, NOT_MODIFIED),
        (False, A, 100, {"if_none_match": [A]}, FAILED),
        (False, A, 100, {"if_none_match": ANY}, FAILED),
        (False, A, 100, {"if_none_match": [B]}, PROCEED),
        # If-Modified-Since
        (True, A, 100, {"if_modified_since": 100.0}, NOT_MODIFIED),
        (True, A, 100, {"if_modified_since": 101.0}, NOT_MODIFIED),
        (True, A, 100, {"if_modified_since": 99.0}, PROCEED),
        (True, A, None, {"if_modified_since": 100.0}, PROCEED),
        (False, A, 100, {"if_modified_since": 100.0}, PROCEED),
        # ... gives way to If-None-Match, both ways
        (True, A, 100, {"if_none_match": [B], "if_modified_since": 100.0}, PROCEED),
        (True, A, 100, {"if_none_match": [A], "if_modified_since": 1.0}, NOT_MODIFIED),
        # If-Match: strong comparison
        (False, A, 100, {"if_match": [B, A]}, PROCEED),
        (False, A, 100, {"if_match": ANY}, PROCEED),
        (False, A, 100, {"if_match": [B]}, FAILED),
        (False, WEAK_A, 100, {"if_match": [WEAK_A]}, FAILED),
        (False, None, 100, {"if_match": [A]}, FAILED),
        (False, A, 100, {"if_match": []}, FAILED),
        # If-Unmodified-Since
        (False, A, 100, {"if_unmodified_since": 100.0}, PROCEED),
        (False, A, 100, {"if_unmodified_since": 99.0}, FAILED),
        (False, A, None, {"if_unmodified_since": 99.0}, PROCEED),
        # ... gives way to If-Match
        (False, A, 100, {"if_match": [A], "if_unmodified_since": 99.0}, PROCEED),
        # If-Match is weighed before If-None-Match
        (True, A, 100, {"if_match": [B], "if_none_match": [A]}, FAILED),
        (True, A, 100, {"if_match": [A], "if_none_match": [A]}, NOT_MODIFIED),
        (True, A, 100, {"if_unmodified_since": 99.0, "if_none_match": [A]}, FAILED),
    ],
)
def test_conditions_are_weighed_in_order(safe, etag, last_modified, conditions, expected):
    assert expected == evaluate(safe=safe, etag=etag, last_modified=last_modified, **conditions)
