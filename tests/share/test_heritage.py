"""The heritage names everything a child has, and finds its row."""

from edge.share.bells import Bells
from edge.share.channel import Channel
from edge.share.claims import ClaimsPage
from edge.share.counters import Counters
from edge.share.crowd import Crowd
from edge.share.fleet import Fleet
from edge.share.heritage import Heritage
from edge.share.notices import Notices
from edge.share.rates import Rates
from edge.share.recency import Recency
from edge.share.scoreboard import Scoreboard
from edge.share.shunned import Shunned
from edge.share.stamps import Stamps
from edge.share.uses import Uses


def test_a_child_finds_its_own_row():
    ours, theirs = Channel.pair()
    heritage = Heritage(
        slot=2,
        place=0,
        generation=1,
        config=None,
        tls=None,
        scoreboard=Scoreboard(4),
        counters=Counters(("a",), 4),
        stamps=Stamps(16),
        recency=Recency(16),
        bells=Bells(4),
        shunned=Shunned(16),
        uses=Uses(16),
        claims=ClaimsPage(4),
        fleet=Fleet(4),
        notices=Notices(),
        crowd=Crowd(4),
        rates=Rates(16),
        under_way=Crowd(4, name="under_way"),
        channel=theirs,
    )
    heritage.row.deadline = 4.5

    assert heritage.scoreboard.row(2).deadline == 4.5
    ours.close()
    theirs.close()
