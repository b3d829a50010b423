"""What a check's reply means, and how many it takes."""

import pytest

from edge.origin.checks import Series, complaint
from edge.origin.health import Checked

UP, DOWN, UNKNOWN = Checked.UP, Checked.DOWN, Checked.UNKNOWN


@pytest.mark.parametrize(
    ("status", "body", "statuses", "wanted", "expected"),
    [
        (200, b"", [(200, 299)], None, None),
        (299, b"", [(200, 299)], None, None),
        (300, b"", [(200, 299)], None, "status 300"),
        (401, b"", [(200, 299), (401, 401)], None, None),
        (200, b"all ready", [(200, 299)], b"ready", None),
        (200, b"starting", [(200, 299)], b"ready", "the body does not contain 'ready'"),
        (503, b"ready", [(200, 299)], b"ready", "status 503"),
    ],
)
def test_a_reply_is_well_or_says_why_not(status, body, statuses, wanted, expected):
    assert expected == complaint(status, body, statuses, wanted)


def stands(results, before=UNKNOWN, rise=2, fall=3):
    series = Series(rise, fall)
    found = []
    for passed in results:
        before = series.note(before, passed=passed == "+")
        found.append(before)
    return found


@pytest.mark.parametrize(
    ("results", "before", "expected"),
    [
        ("+", UNKNOWN, [UP]),
        ("---", UNKNOWN, [UNKNOWN, UNKNOWN, DOWN]),
        ("--+---", UP, [UP, UP, UP, UP, UP, DOWN]),
        ("++", DOWN, [DOWN, UP]),
        ("+-++", DOWN, [DOWN, DOWN, DOWN, UP]),
        ("----", DOWN, [DOWN] * 4),
    ],
)
def test_it_takes_several_in_a_row(results, before, expected):
    assert expected == stands(results, before)
