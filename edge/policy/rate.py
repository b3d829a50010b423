"""
How many requests are too many: the arithmetic of one limit, and how it is told.

The generic cell rate algorithm: every request that passes adds one *interval* to what its sender owes, time pays it off, and
nobody may owe more than *tolerance*. So ``burst`` requests pass at once, and one more with every interval; in any
window at most ``burst`` and what the rate gives. What is refused adds nothing.

Debts are whole microseconds. Knows neither clocks nor where a debt is remembered (:mod:`edge.share.rates`).

Source: ITU-T I.371 (GCRA); draft-ietf-httpapi-ratelimit-headers-10 (``RateLimit``, ``RateLimit-Policy``); RFC 9110 §10.2.3
(``Retry-After``); RFC 9651 §3 (their form).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.policy.networks import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable

SECOND_US: Final = 1_000_000


class Quota:
    """
    One limit.

    Args:
        name: as it is told and logged.
        limit: requests.
        window_s: in which so many may be made on average.
        burst: how many may be made at once.

    Attributes:
        interval_us: what one request adds to a debt.
        tolerance_us: the greatest debt.
        policy: the member for ``RateLimit-Policy``.
    """

    __slots__ = ("_quoted", "burst", "interval_us", "name", "policy", "tolerance_us")

    def __init__(self, name: str, limit: int, window_s: float, burst: int) -> None:
        self.name = name
        self.burst = burst
        self.interval_us = max(1, round(window_s * SECOND_US / limit))
        self.tolerance_us = self.interval_us * burst
        self._quoted = b'"%b"' % name.encode("ascii")
        self.policy = b"%b;q=%d;w=%d" % (self._quoted, limit, max(1, round(window_s)))

    def __repr__(self) -> str:
        return f"<Quota {self.name} burst={self.burst} interval={self.interval_us}us>"

    def owed(self, debt_us: int) -> int | None:
        """Return the debt after one more request; None: that is too much, and the debt stays what it was."""
        owed = debt_us + self.interval_us
        return owed if owed <= self.tolerance_us else None

    def wait_s(self, debt_us: int) -> int:
        """Return after how many whole seconds, at least one, a request would pass."""
        return max(1, -(-(debt_us + self.interval_us - self.tolerance_us) // SECOND_US))

    def state(self, debt_us: int) -> bytes:
        """Return the member for ``RateLimit``: how many may be made now, and in how many seconds all may again."""
        left = (self.tolerance_us - debt_us) // self.interval_us
        return b"%b;r=%d;t=%d" % (self._quoted, left, -(-debt_us // SECOND_US))


def told(quotas: Iterable[tuple[Quota, int]]) -> list[tuple[bytes, bytes]]:
    """Return the fields that tell a client of its limits, each with its debt; none if there are none."""
    quotas = list(quotas)
    if not quotas:
        return []
    return [
        (b"ratelimit-policy", b", ".join([quota.policy for quota, _ in quotas])),
        (b"ratelimit", b", ".join([quota.state(debt) for quota, debt in quotas])),
    ]


def network_of(address: str, ipv4_prefix: int, ipv6_prefix: int) -> bytes:
    """
    Return what an address is counted under: its network of so many bits.

    Whoever has one IPv6 address has 2⁶⁴ of them, so they are counted together. What is no IP address is counted as it is.
    """
    number = number_of(address)
    if number is None:
        return address.encode("utf-8", "replace")
    bits, value = number
    prefix = ipv4_prefix if bits == 32 else ipv6_prefix
    return b"%d/%x" % (bits, value >> bits - prefix)
