"""
What the house owns that outlives its people: the shared pages and the bells, and which slot is whose.

Made once, before the first fork. On ``USR2`` the next master takes over the same pages by descriptor, so that a purge in
the new program is seen by an old worker that still drains, counters go on, and both masters hand out slots of one board.
If the next program lays its pages out otherwise, it makes its own: those two generations then share only the store,
for as long as the old one drains.

It decides which slot is free; it does not know who asks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

from edge.observe.names import GAUGES, NAMES
from edge.share.bells import Bells
from edge.share.claims import ClaimsPage
from edge.share.claims import page_bytes as claims_bytes
from edge.share.counters import Counters
from edge.share.crowd import Crowd
from edge.share.fleet import Fleet
from edge.share.notices import Notices
from edge.share.page import Page
from edge.share.rates import WORDS as RATES_WORDS
from edge.share.rates import Rates
from edge.share.recency import COPY_BYTES as RECENCY_COPY_BYTES
from edge.share.recency import SIZE as RECENCY_SIZE
from edge.share.recency import Recency
from edge.share.scoreboard import Scoreboard
from edge.share.shunned import SIZE as SHUNNED_SIZE
from edge.share.shunned import WORD_BYTES, Shunned
from edge.share.stamps import SIZE as STAMPS_SIZE
from edge.share.stamps import Stamps
from edge.share.uses import SIZE as USES_SIZE
from edge.share.uses import Uses

LAYOUT: Final = 1
"""Counts up when a page of the same size begins to mean something else."""
LEAST_SLOTS: Final = 64


def slots_for(workers: int) -> int:
    """How many slots: room for three generations of twice the workers, for TTIN and for reloads in quick succession."""
    return max(LEAST_SLOTS, 6 * workers + 8)


@dataclass(frozen=True, slots=True)
class Estate:
    """
    The pages and bells; attributes are named as in the heritage.

    Attributes:
        from_top: slots are given out from the last one down. Each master does the opposite of the one before it, so that
            two that share a board during ``USR2`` cannot take the same slot at the same moment.
    """

    scoreboard: Scoreboard
    counters: Counters
    stamps: Stamps
    recency: Recency
    bells: Bells
    shunned: Shunned
    uses: Uses
    claims: ClaimsPage
    fleet: Fleet
    crowd: Crowd
    rates: Rates
    under_way: Crowd
    notices: Notices
    from_top: bool = False

    @classmethod
    def make(cls, slots: int) -> Estate:
        """Map new pages with *slots* rows."""
        board, counters = Scoreboard(slots), Counters(NAMES, slots, GAUGES)
        bells, claims = Bells(slots), ClaimsPage(slots)
        fleet, crowd, under_way = Fleet(slots), Crowd(slots), Crowd(slots, name="under_way")
        return cls(
            board, counters, Stamps(), Recency(), bells, Shunned(), Uses(), claims, fleet, crowd, Rates(), under_way,
            Notices(),
        )  # fmt: skip

    @classmethod
    def adopt(cls, will: dict[str, Any]) -> Estate:
        """
        Go on with the pages that :meth:`will` names.

        Raises:
            ValueError, KeyError, OSError: they do not fit this program; nothing of them is usable.
        """
        if will["layout"] != LAYOUT or will["names"] != _digest():
            raise ValueError("the running program lays its shared pages out otherwise")
        slots: int = will["slots"]

        def page(name: str, size: int) -> Page:
            fd: int = will["pages"][name]
            os.set_inheritable(fd, False)
            return Page(size, name, fd)

        for fd in will["bells"]:
            os.set_inheritable(fd, False)
        return cls(
            Scoreboard(slots, page("scoreboard", Scoreboard.size(slots))),
            Counters(NAMES, slots, GAUGES, page("counters", Counters.size(len(NAMES), slots))),
            Stamps(page=page("stamps", STAMPS_SIZE * 8)),
            Recency(page=page("recency", RECENCY_SIZE * RECENCY_COPY_BYTES)),
            Bells(slots, will["bells"], page("waiting", slots * 8)),
            Shunned(page=page("shunned", SHUNNED_SIZE * WORD_BYTES)),
            Uses(page=page("uses", USES_SIZE * 8)),
            ClaimsPage(slots, page("claims", claims_bytes(slots))),
            Fleet(slots, page("fleet", Fleet.size(slots))),
            Crowd(slots, page("crowd", Crowd.size(slots))),
            Rates(page=page("rates", Rates.size(RATES_WORDS))),
            Crowd(slots, page("under_way", Crowd.size(slots))),
            Notices(page("notices", Notices.size())),
            from_top=not will["from_top"],
        )

    def will(self) -> dict[str, Any]:
        """Return what :meth:`adopt` needs, as JSON can say it. Descriptors are by number: they must be inherited."""
        pages = (
            self.scoreboard.page, self.counters.page, self.stamps.page, self.recency.page, self.bells.page,
            self.shunned.page, self.uses.page, self.claims.page, self.fleet.page, self.crowd.page,
            self.rates.page, self.under_way.page, self.notices.page,
        )  # fmt: skip
        return {
            "layout": LAYOUT,
            "names": _digest(),
            "slots": self.scoreboard.slots,
            "from_top": self.from_top,
            "pages": {page.name: page.fd for page in pages},
            "bells": list(self.bells.fds),
        }

    def fds(self) -> list[int]:
        """Return every descriptor that :meth:`will` names."""
        will = self.will()
        return [*will["pages"].values(), *will["bells"]]

    def take_slot(self) -> int | None:
        """Return a free slot, swept clean, or None. A slot whose holder is dead (its master died, too) is free."""
        rows = self.scoreboard.rows[::-1] if self.from_top else self.scoreboard.rows
        slot = next((row.slot for row in rows if not row.pid), None)
        if slot is None:
            slot = next((row.slot for row in rows if not _is_alive(row.pid)), None)
        if slot is not None:
            self.give_back(slot)
        return slot

    def give_back(self, slot: int) -> None:
        """Make *slot* free again: its holder has been reaped."""
        self.scoreboard.row(slot).clear()
        self.bells.reset(slot)
        self.claims.clear(slot)
        self.under_way.forget(slot)
        self.counters.forget_gauges(slot)
        self.fleet.forget(slot)
        self.crowd.forget(slot)


def _digest() -> int:
    """What tells two sets of counters apart; crc32 rather than hash(), which is salted per process."""
    return crc32("\n".join(NAMES).encode())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
