"""``edge purge``: take things back from the cache of a running edge. When it has ended well, no worker uses them any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.cli.operator import Operator

LONGEST: Final = 4000
"""Bytes of a query: half of what a request line may have by default."""


def run(operator: Operator, orders: Sequence[tuple[str, str]], *, is_soft: bool) -> int:
    """
    Purge what *orders* name, in as many calls as it takes, and print what was done.

    Args:
        operator: of the edge.
        orders: ``url``, ``host``, ``prefix``, ``tag`` or ``all``, and what of it.
        is_soft: keep the copies, but have them asked about before they are used.

    Returns:
        The exit code.

    Raises:
        Unanswered: something was not purged; the edge says what. What was printed was.
    """
    for batch in _batches(orders):
        answer = operator.ask("POST", "/purge", [*batch, ("soft", "1")] if is_soft else batch)
        for done in answer["purged"]:
            copies = done.pop("copies", None)
            ((name, what),) = done.items()
            count = "" if copies is None else f" ({copies} {'copy' if copies == 1 else 'copies'})"
            print(f"purged{' softly' if is_soft else ''}: {'all' if name == 'all' else f'{name} {what}'}{count}")
    return 0


def _batches(orders: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    batch: list[tuple[str, str]] = []
    size = 0
    for order in orders:
        length = len(urlencode([order])) + 1
        if batch and size + length > LONGEST:
            yield batch
            batch, size = [], 0
        batch.append(order)
        size += length
    if batch:
        yield batch
