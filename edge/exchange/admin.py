"""
What operators are told on the admin address, and what they may order there.

They are told by ``/metrics``, ``/healthz`` and ``/readyz``; by ``/cache``, ``/cache/ls`` and ``/cache/show`` what is stored
(:mod:`edge.exchange.inventory`); by ``/explain`` what would happen to a request (:mod:`edge.exchange.explain`). ``POST /purge``
takes something back (:mod:`edge.exchange.purging`). ``/origins`` tells how servers stand, and ``POST`` to what lies below it drains,
disables or enables one (:mod:`edge.exchange.servers`). Who may is decided in :mod:`edge.policy.operators`. A page in an operator's
browser is not an operator; what browsers send to where it was not asked for is refused.

Any worker answers for the whole node, because the counters are shared. *Healthy* means this worker's loop turns, which its
answering shows; *ready* means that somebody takes connections and the asked worker is not leaving.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.exchange.answering import say, say_json
from edge.exchange.decision import Answer
from edge.exchange.explain import explain, read_question
from edge.exchange.inventory import Inventory
from edge.exchange.purging import NO_CACHE, Misread, only_url, read_orders, read_query
from edge.exchange.servers import ORDERS, Servers
from edge.observe import names
from edge.observe.metrics import Gauge, exposition
from edge.policy.operators import Operators, Refused
from edge.reply.errors import error_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge.exchange.rooms import Rooms
    from edge.message.head import RequestHead
    from edge.share.counters import Counters
    from edge.share.scoreboard import Scoreboard

ORIGINS: Final = (b"/origins", *(f"/origins/{what}".encode() for what in ORDERS))
LOOKED_AT: Final = (b"/metrics", b"/healthz", b"/readyz")
STEERED: Final = (b"/cache", b"/cache/ls", b"/cache/show", b"/explain", b"/purge")


NEARBY: Final = Operators()


class Admin:
    """
    Answers operators.

    Args:
        counters: of all slots.
        scoreboard: of all slots.
        origin_blocks: where each origin's counters are.
        gauges: what else is true now.
        is_leaving: whether this worker is draining.
        rooms: of the worker; None: there is nothing to steer.
        operators: who may ask.
        servers: of the origins; None: there is nothing to say about them.
        route_blocks: where each route's counters are.
    """

    def __init__(
        self,
        counters: Counters,
        scoreboard: Scoreboard,
        origin_blocks: Mapping[str, int],
        gauges: Callable[[], Iterable[Gauge]],
        is_leaving: Callable[[], bool],
        rooms: Rooms | None = None,
        operators: Operators = NEARBY,
        servers: Servers | None = None,
        route_blocks: Mapping[str, int] | None = None,
    ) -> None:
        self._servers = servers
        self._counters = counters
        self._scoreboard = scoreboard
        self._origin_blocks = origin_blocks
        self._route_blocks = route_blocks or {}
        self._gauges = gauges
        self._is_leaving = is_leaving
        self._rooms = rooms
        self._operators = operators

    def __call__(self, head: RequestHead, now_wall: float, peer: str = "") -> Answer:
        """Answer one request of *peer*, an address; empty for a Unix socket's."""
        why_not = self._operators.refusal(head, peer)
        if why_not is not None:
            return _refusal(head, why_not, now_wall)
        path = head.path
        if path in STEERED and self._rooms is not None:
            return self._steer(self._rooms, head, now_wall)
        if path in ORIGINS and self._servers is not None:
            return self._steer_servers(self._servers, head, now_wall)
        if head.method not in {b"GET", b"HEAD"}:
            return self._not_allowed(b"GET, HEAD", now_wall)
        match path:
            case b"/metrics":
                accept = (head.get(b"accept") or b"").decode("latin-1")
                ready = Gauge("edge_workers_ready", "Workers that take connections.", self._scoreboard.ready())
                content_type, body = exposition(
                    self._counters.total,
                    origins=self._origin_blocks,
                    routes=self._route_blocks,
                    gauges=[ready, *self._gauges(), *(() if self._servers is None else self._servers.gauges())],
                    accept=accept,
                )
                return say(head, 200, body, now_wall, content_type)
            case b"/healthz":
                return say(head, 200, b"ok\n", now_wall)
            case b"/readyz":
                is_ready = self._scoreboard.ready() > 0 and not self._is_leaving()
                return say(head, 200 if is_ready else 503, b"ready\n" if is_ready else b"not ready\n", now_wall)
            case b"/":
                paths: tuple[bytes, ...] = LOOKED_AT if self._rooms is None else LOOKED_AT + STEERED
                paths = paths if self._servers is None else paths + ORIGINS
                return say(head, 200, b"".join(path + b"\n" for path in paths), now_wall)
            case _:
                return Answer(*error_reply(404, now_wall=now_wall, to_head=head.method == b"HEAD"))

    def _steer(self, rooms: Rooms, head: RequestHead, now_wall: float) -> Answer:
        """Tell an operator what the cache is about, or change it."""
        try:
            if head.path == b"/purge":
                return self._purge(rooms, head, now_wall)
            if head.method not in {b"GET", b"HEAD"}:
                return self._not_allowed(b"GET, HEAD", now_wall)
            query = read_query(head.query)
            if head.path == b"/explain":
                return say_json(head, 200, explain(rooms, read_question(query), now_wall), now_wall)
            if rooms.store is None:
                return say_json(head, 409, {"error": NO_CACHE}, now_wall)
            inventory = Inventory(rooms.store, rooms.recency)
            match head.path:
                case b"/cache/ls":
                    told = inventory.page(query, now_wall)
                case b"/cache/show":
                    told = inventory.address(only_url(query), rooms.steering.keys_for, now_wall)
                case _:
                    told = inventory.numbers() | {"requests": self._requests()}
            return say_json(head, 200, told, now_wall)
        except Misread as why:
            return say_json(head, 400, {"error": str(why)}, now_wall)

    def _steer_servers(self, servers: Servers, head: RequestHead, now_wall: float) -> Answer:
        """Tell an operator how the servers stand, or have one drained, disabled or enabled."""
        what = head.path.rpartition(b"/")[2].decode()
        if what not in ORDERS:
            if head.method not in {b"GET", b"HEAD"}:
                return self._not_allowed(b"GET, HEAD", now_wall)
            return say_json(head, 200, servers.told(), now_wall)
        if head.method != b"POST":
            return self._not_allowed(b"POST", now_wall)
        if head.get(b"origin") is not None or head.get(b"sec-fetch-site") is not None:
            return Answer(*error_reply(403, now_wall=now_wall), word="http_request_denied")
        try:
            return say_json(head, 200, servers.order(what, read_query(head.query)), now_wall)
        except Misread as why:
            return say_json(head, 400, {"error": str(why)}, now_wall)

    def _purge(self, rooms: Rooms, head: RequestHead, now_wall: float) -> Answer:
        if head.method != b"POST":
            return self._not_allowed(b"POST", now_wall)
        if head.get(b"origin") is not None or head.get(b"sec-fetch-site") is not None:
            return Answer(*error_reply(403, now_wall=now_wall), word="http_request_denied")
        orders, is_soft = read_orders(read_query(head.query), rooms.steering.keys_for)
        return rooms.purger.answer(head, orders, now_wall, is_soft=is_soft, by="an operator")

    def _requests(self) -> dict[str, int]:
        """How many requests there have been, by what the cache did."""
        return {word: self._counters.total(cell) for word, cell in names.REQUESTS.items()}

    @staticmethod
    def _not_allowed(allowed: bytes, now_wall: float) -> Answer:
        refused = error_reply(405, now_wall=now_wall, extra=((b"allow", allowed),))
        return Answer(*refused, word="http_request_denied")


def _refusal(head: RequestHead, why: Refused, now_wall: float) -> Answer:
    """Tell somebody why he is no operator."""
    word = "http_request_denied"
    if why is Refused.NOTHING_SHOWN:
        asks = ((b"www-authenticate", b'Bearer realm="edge"'), (b"www-authenticate", b'Basic realm="edge"'))
        return say_json(head, 401, {"error": why.value}, now_wall, extra=asks, word=word)
    return say_json(head, 403, {"error": why.value}, now_wall, word=word)
