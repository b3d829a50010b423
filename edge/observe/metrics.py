"""
The counters as Prometheus reads them.

Takes the totals over all slots and what else is true of the node now, gives bytes. Knows nothing of how cells are
shared or who asks. prometheus-client decides the text format and its escaping; nothing is kept between two calls.
Source: Prometheus text format 0.0.4; OpenMetrics 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import CollectorRegistry

from edge.observe.names import Kind, Row, named_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that no cell holds: cache size, a certificate's end, the generation."""

    name: str
    help: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


def exposition(
    total: Callable[[int], int],
    *,
    origins: Mapping[str, int] | None = None,
    routes: Mapping[str, int] | None = None,
    gauges: Iterable[Gauge] = (),
    accept: str = "",
) -> tuple[str, bytes]:
    """
    Write everything down.

    Args:
        total: a cell's sum over all slots (``Counters.total``).
        origins: blocks by origin, from :func:`~edge.observe.names.assign_origins`.
        routes: blocks by route, from :func:`~edge.observe.names.assign_routes`.
        gauges: what else is true now; those of one name must stand together.
        accept: the asker's Accept value; OpenMetrics is given to who names it.

    Returns:
        The content type and the body.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([*_families(named_rows(origins or {}, routes), total), *_gauges(gauges)]))
    encode, content_type = choose_encoder(accept)
    body: bytes = encode(registry)
    return content_type, body


class _Once:
    """A collector of metrics already made."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _families(rows: list[tuple[int, Row]], total: Callable[[int], int]) -> Iterator[Metric]:
    for name, members in groupby(rows, key=lambda pair: pair[1].name):
        family = list(members)
        first = family[0][1]
        if first.kind is Kind.BUCKET:
            yield _histogram(name, family, total)
            continue
        make: Any = CounterMetricFamily if first.kind is Kind.COUNTER else GaugeMetricFamily
        metric = make(name, first.help, labels=[label for label, _ in first.labels])
        for cell, row in family:
            metric.add_metric([value for _, value in row.labels], total(cell))
        yield metric


def _histogram(name: str, family: list[tuple[int, Row]], total: Callable[[int], int]) -> Metric:
    first = family[0][1]
    metric = HistogramMetricFamily(name, first.help, labels=[label for label, _ in first.labels if label != "le"])
    buckets: list[tuple[str, float]] = []
    below = 0
    for cell, row in family:
        if row.kind is Kind.BUCKET:
            below += total(cell)
            buckets.append((row.labels[-1][1], below))
        else:
            metric.add_metric([value for _, value in row.labels], buckets, total(cell) / 1e6)
            buckets = []
            below = 0
    return metric


def _gauges(gauges: Iterable[Gauge]) -> Iterator[Metric]:
    for name, members in groupby(gauges, key=lambda gauge: gauge.name):
        family = list(members)
        metric = GaugeMetricFamily(name, family[0].help, labels=[label for label, _ in family[0].labels])
        for gauge in family:
            metric.add_metric([value for _, value in gauge.labels], gauge.value)
        yield metric
