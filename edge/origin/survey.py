"""
Which servers may be asked now, and with how much of their weight.

Decides over all servers of an origin at once, from how each stands (:mod:`edge.origin.health`): the ordinary ones that may
be asked; the backups while none of those may; and when nobody may, everyone who is not drained or disabled, since guessing
costs a failed connection at worst and refusing costs a request for certain. Says also until when this holds if nothing
changes, so that whoever asks often need not work it out each time.

Does not know who has room, or who is picked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge.origin.health import Condition, Order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.origin.health import Health
    from edge.origin.members import Member

RAMP_STEP_S: Final = 0.1
"""How often the share of a server that comes back is worked out anew."""


@dataclass(slots=True)
class Survey:
    """
    What is true of an origin's servers, by their place in the list.

    Attributes:
        able: who may be asked, in order; empty if everyone is drained or disabled.
        others: who else may be asked if none of the able is left: the rest of those that are enabled.
        bound: who may still be asked by clients that are bound to it: the able and the draining.
        weights: of every server, what it has of it now.
        trials: those of the able that are out and get one request to show that they are well.
        until_mono: it holds so long, if nobody says that something has changed.
        in_use: how many are in, backups not counted: for the floor.
    """

    able: list[int]
    others: list[int]
    bound: frozenset[int]
    weights: list[float]
    trials: frozenset[int]
    until_mono: float
    in_use: int


def survey(members: Sequence[Member], healths: Sequence[Health], now_mono: float, slow_start_s: float) -> Survey:
    """Look at every server. Cost: some 2 µs each; whoever asks often keeps the answer."""
    until_mono = math.inf
    weights: list[float] = []
    ordinary: list[int] = []
    backups: list[int] = []
    enabled: list[int] = []
    draining: list[int] = []
    trials: set[int] = set()
    in_use = 0
    for index, (member, health) in enumerate(zip(members, healths, strict=True)):
        share = health.share(now_mono, slow_start_s)
        weights.append(member.weight * share)
        if share < 1.0:
            until_mono = min(until_mono, now_mono + RAMP_STEP_S)
        order = health.order
        if order is Order.DRAINING:
            draining.append(index)
        if order is not Order.ENABLED:
            continue
        enabled.append(index)
        is_out = health.condition is not Condition.WELL
        if is_out and health.again_mono > now_mono:
            until_mono = min(until_mono, health.again_mono)
        if health.may_ask(now_mono):
            (backups if member.is_backup else ordinary).append(index)
            if is_out:
                trials.add(index)
            elif not member.is_backup:
                in_use += 1
    able = ordinary or backups or enabled
    return Survey(
        able=able,
        others=[index for index in enabled if index not in able],
        bound=frozenset((*able, *draining)),
        weights=weights,
        trials=frozenset(trials.intersection(able)),
        until_mono=until_mono,
        in_use=in_use,
    )


def may_eject(in_use: int, ordinary: int, floor: float) -> bool:
    """Return whether one of the *in_use* may go: then still *floor* (a share) of the *ordinary* servers are in, and one."""
    return in_use - 1 >= max(1, math.ceil(ordinary * floor - 1e-9))
