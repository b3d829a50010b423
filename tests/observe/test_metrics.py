"""What Prometheus reads is what the cells hold."""

from prometheus_client.parser import text_string_to_metric_families

from edge.observe import names
from edge.observe.ledger import add_durations, count
from edge.observe.metrics import Gauge, exposition
from edge.observe.names import ROWS, OriginCells, assign_origins
from tests.observe.test_access_log import entry, head


def samples(body: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_every_cell_is_exposed_under_its_name() -> None:
    cells = list(range(len(ROWS)))
    content_type, body = exposition(cells.__getitem__)
    found = samples(body)

    assert content_type.startswith("text/plain; version=0.0.4")
    assert found["edge_sessions_open", ()] == names.SESSIONS_OPEN
    assert found["edge_requests_total", (("cache", "vary-miss"),)] == names.REQUESTS["vary-miss"]
    assert found["edge_tls_handshakes_total", (("resumed", "yes"),)] == names.HANDSHAKES_RESUMED
    assert found["edge_faults_total", (("error", "tls_certificate_error"),)] == names.FAULTS["tls_certificate_error"]


def test_histograms_are_cumulative_and_in_seconds() -> None:
    cells = [0] * len(ROWS)
    count([entry(head(), duration=duration) for duration in (0.0001, 0.0002, 0.3, 60.0)], cells)
    found = samples(exposition(cells.__getitem__)[1])

    assert found["edge_request_seconds_bucket", (("cache", "hit"), ("le", "0.0005"))] == 2
    assert found["edge_request_seconds_bucket", (("cache", "hit"), ("le", "0.25"))] == 2
    assert found["edge_request_seconds_bucket", (("cache", "hit"), ("le", "0.5"))] == 3
    assert found["edge_request_seconds_bucket", (("cache", "hit"), ("le", "+Inf"))] == 4
    assert found["edge_request_seconds_count", (("cache", "hit"),)] == 4
    assert found["edge_request_seconds_sum", (("cache", "hit"),)] == 60.3003


def test_origins_have_series_under_their_own_names() -> None:
    cells = [0] * len(ROWS)
    blocks = assign_origins(["shop", 'log"in'])
    mine = OriginCells.of(blocks['log"in'])
    cells[mine.replies + 5 - 1] = 7
    cells[mine.faults] = 3
    add_durations([0.02], mine.duration, cells)
    found = samples(exposition(cells.__getitem__, origins=blocks)[1])

    assert found["edge_origin_replies_total", (("origin", 'log"in'), ("status", "5xx"))] == 7
    assert found["edge_origin_faults_total", (("origin", 'log"in'),)] == 3
    assert found["edge_origin_reply_seconds_sum", (("origin", 'log"in'),)] == 0.02
    assert found["edge_origin_replies_total", (("origin", "shop"), ("status", "5xx"))] == 0


def test_what_no_cell_holds_is_a_gauge_beside_them() -> None:
    gauges = [
        Gauge("edge_certificate_not_after_seconds", "When a certificate ends.", 1.8e9, (("name", "a.example"),)),
        Gauge("edge_certificate_not_after_seconds", "When a certificate ends.", 1.9e9, (("name", "b.example"),)),
        Gauge("edge_workers_ready", "Workers that take connections.", 2),
    ]
    cells = [0] * len(ROWS)
    found = samples(exposition(cells.__getitem__, gauges=gauges)[1])

    assert found["edge_certificate_not_after_seconds", (("name", "b.example"),)] == 1.9e9
    assert found["edge_workers_ready", ()] == 2


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    cells = [0] * len(ROWS)
    content_type, body = exposition(cells.__getitem__, accept="application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_two_expositions_in_a_row_are_the_same() -> None:
    cells = list(range(len(ROWS)))

    assert exposition(cells.__getitem__) == exposition(cells.__getitem__)
