"""What a reply of ours says about a failed origin."""

from __future__ import annotations

import pytest

from edge.errors import EdgeFault, Fault, OriginFault
from edge.reply.proxy_status import ERRORS, failed


def test_a_registered_word_is_said():
    assert failed("connection_timeout") == b"edge; error=connection_timeout"


def test_what_the_origin_answered_is_said():
    assert failed("http_protocol_error", received_status=502) == b"edge; error=http_protocol_error; received-status=502"


def test_a_word_of_our_own_does_not_leave_the_house():
    assert failed("pool_row_17") == b"edge; error=proxy_internal_error"


@pytest.mark.parametrize("fault", [Fault, OriginFault, EdgeFault])
def test_what_faults_say_unless_told_otherwise_is_registered(fault):
    assert fault().word in ERRORS
