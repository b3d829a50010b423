"""
What operators are told on the admin address: ``/metrics``, ``/healthz``, ``/readyz``.

Any worker answers for the whole node, because the counters are shared. *Healthy* means this worker's loop turns, which its
answering shows; *ready* means that somebody takes connections and the asked worker is not leaving.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.exchange.decision import Answer
from edge.message.dates import format_date
from edge.message.head import Framing, ReplyHead, RequestHead
from edge.observe.metrics import Gauge, exposition
from edge.reply.errors import error_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge.share.counters import Counters
    from edge.share.scoreboard import Scoreboard

TEXT = "text/plain; charset=utf-8"


class Admin:
    """
    Answers operators.

    Args:
        counters: of all slots.
        scoreboard: of all slots.
        origin_blocks: where each origin's counters are.
        gauges: what else is true now.
        is_leaving: whether this worker is draining.
    """

    def __init__(
        self,
        counters: Counters,
        scoreboard: Scoreboard,
        origin_blocks: Mapping[str, int],
        gauges: Callable[[], Iterable[Gauge]],
        is_leaving: Callable[[], bool],
    ) -> None:
        self._counters = counters
        self._scoreboard = scoreboard
        self._origin_blocks = origin_blocks
        self._gauges = gauges
        self._is_leaving = is_leaving

    def __call__(self, head: RequestHead, now_wall: float) -> Answer:
        """Answer one request."""
        if head.method not in {b"GET", b"HEAD"}:
            refused = error_reply(405, now_wall=now_wall, extra=((b"allow", b"GET, HEAD"),))
            return Answer(*refused, word="http_request_denied")
        match head.path:
            case b"/metrics":
                accept = (head.get(b"accept") or b"").decode("latin-1")
                ready = Gauge("edge_workers_ready", "Workers that take connections.", self._scoreboard.ready())
                content_type, body = exposition(
                    self._counters.total,
                    origins=self._origin_blocks,
                    gauges=[ready, *self._gauges()],
                    accept=accept,
                )
                return self._text(head, 200, body, now_wall, content_type)
            case b"/healthz":
                return self._text(head, 200, b"ok\n", now_wall)
            case b"/readyz":
                is_ready = self._scoreboard.ready() > 0 and not self._is_leaving()
                return self._text(head, 200 if is_ready else 503, b"ready\n" if is_ready else b"not ready\n", now_wall)
            case b"/":
                return self._text(head, 200, b"/metrics\n/healthz\n/readyz\n", now_wall)
            case _:
                return Answer(*error_reply(404, now_wall=now_wall, to_head=head.method == b"HEAD"))

    @staticmethod
    def _text(head: RequestHead, status: int, body: bytes, now_wall: float, content_type: str = TEXT) -> Answer:
        fields = [
            (b"date", format_date(now_wall)),
            (b"content-type", content_type.encode()),
            (b"cache-control", b"no-store"),
        ]
        if head.method == b"HEAD":
            return Answer(ReplyHead(status, fields, framing=Framing.NONE, length=len(body)), b"")
        return Answer(ReplyHead(status, fields, framing=Framing.LENGTH, length=len(body)), body)
