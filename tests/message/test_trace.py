"""A trace goes on through us, or begins here; never on the word of what is not well formed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.message.trace import Context, continued, go_on, read

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = b"00f067aa0ba902b7"
FRESH = bytes(range(1, 25))


def test_a_traceparent_is_understood() -> None:
    assert read(b"00-%b-%b-01" % (TRACE, SPAN)) == Context(TRACE, SPAN, 1)
    assert read(b"00-%b-%b-00" % (TRACE, SPAN)) == Context(TRACE, SPAN, 0)


def test_a_later_version_is_understood_as_far_as_this_one_goes() -> None:
    assert read(b"cc-%b-%b-09-what-the-future" % (TRACE, SPAN)) == Context(TRACE, SPAN, 1)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"00-%b-%b" % (TRACE, SPAN),
        b"00-%b-%b-01-more" % (TRACE, SPAN),
        b"ff-%b-%b-01" % (TRACE, SPAN),
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"00-%b-%b-01" % (TRACE.upper(), SPAN),
        b"00-%b-%b-01, 00-%b-%b-01" % (TRACE, SPAN, TRACE, SPAN),
        b" 00-%b-%b-01" % (TRACE, SPAN),
    ],
)
def test_what_is_not_well_formed_begins_a_new_trace(value: bytes | None) -> None:
    ours = go_on(value, FRESH, sampled=True)

    assert read(value) is None
    assert ours == Context(FRESH[:16].hex().encode(), FRESH[16:].hex().encode(), 1, begun=True)


def test_a_trace_goes_on_with_our_own_span() -> None:
    ours = go_on(b"00-%b-%b-00" % (TRACE, SPAN), FRESH, sampled=True)

    assert ours == Context(TRACE, FRESH[16:].hex().encode(), 0)
    assert ours.field() == b"00-%b-1112131415161718-00" % TRACE


def test_tracestate_goes_on_with_its_trace_only() -> None:
    fields = [(b"tracestate", b"a=1"), (b"traceparent", b"x"), (b"accept", b"*/*")]
    went_on, begun = Context(TRACE, SPAN, 1), Context(TRACE, SPAN, 1, begun=True)

    assert continued(fields, went_on) == [fields[0], fields[2], (b"traceparent", went_on.field())]
    assert continued(fields, begun) == [fields[2], (b"traceparent", begun.field())]


@given(st.one_of(st.none(), st.binary(max_size=80)), st.binary(min_size=24, max_size=24), st.booleans())
def test_what_is_said_on_is_always_well_formed(value: bytes | None, fresh: bytes, sampled: bool) -> None:
    ours = go_on(value, fresh, sampled=sampled)

    assert read(ours.field()) == ours._replace(begun=False)
