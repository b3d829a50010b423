"""
Why the edge answers in an origin's place: one member of the ``Proxy-Status`` list.

Decides only the spelling, and that nothing is said beyond a registered word: next hops and details are for the log, an
outsider learns the kind of the failure and not our insides.

Source: RFC 9209 §2.3.
"""

from __future__ import annotations

ERRORS = frozenset(
    {
        "dns_timeout",
        "dns_error",
        "destination_not_found",
        "destination_unavailable",
        "destination_ip_prohibited",
        "destination_ip_unroutable",
        "connection_refused",
        "connection_terminated",
        "connection_timeout",
        "connection_read_timeout",
        "connection_write_timeout",
        "connection_limit_reached",
        "tls_protocol_error",
        "tls_certificate_error",
        "tls_alert_received",
        "http_request_error",
        "http_request_denied",
        "http_response_incomplete",
        "http_response_header_section_size",
        "http_response_header_size",
        "http_response_body_size",
        "http_response_trailer_section_size",
        "http_response_trailer_size",
        "http_response_transfer_coding",
        "http_response_content_coding",
        "http_response_timeout",
        "http_upgrade_failed",
        "http_protocol_error",
        "proxy_internal_response",
        "proxy_internal_error",
        "proxy_configuration_error",
        "proxy_loop_detected",
    }
)
"""The error types that RFC 9209 §2.3 registers."""


def failed(word: str, *, received_status: int | None = None) -> bytes:
    """
    Say that the origin could not be asked or did not answer well.

    Args:
        word: a fault's word. One that is not registered is said as ``proxy_internal_error``.
        received_status: what the origin answered, if it did.
    """
    error = word if word in ERRORS else "proxy_internal_error"
    member = b"edge; error=" + error.encode()
    return member if received_status is None else member + b"; received-status=%d" % received_status
