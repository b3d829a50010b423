"""How long the next bytes are waited for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.origin.pace import patience_s


@pytest.mark.parametrize(
    ("waited_s", "came_bytes", "expected"),
    [
        (0.0, 0, 60.0),
        (10.0, 0, 50.0),  # nothing has been earned yet
        (10.0, 2560, 60.0),  # just as fast as it must be
        (10.0, 1 << 20, 60.0),  # a single pause is never longer
        (100.0, 5120, -20.0),
    ],
)
def test_a_pause_is_as_long_as_it_was_earned(waited_s, came_bytes, expected):
    assert expected == patience_s(60.0, waited_s, came_bytes, 256)


@given(st.lists(st.tuples(st.floats(0, 60), st.integers(0, 10**6))), st.integers(1, 10**6))
def test_what_is_sent_slower_than_it_must_be_ends(steps, rate):
    """However it is cut: whoever is still waited for has brought what he must, but for one pause."""
    waited_s, came = 0.0, 0
    for pause_s, count in steps:
        if pause_s > patience_s(60.0, waited_s, came, rate):
            return
        waited_s += pause_s
        came += count
        assert (waited_s - pause_s - 60.0) * rate <= came + rate
