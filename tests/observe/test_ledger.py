"""What the log says and what the counters say is the same."""

import json
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge.observe import names
from edge.observe.access_log import AccessLog, Entry, JsonFormat
from edge.observe.ledger import BATCH, Ledger, add_durations, count
from edge.observe.names import BUCKETS_S, ROWS
from edge.observe.sink import Sink
from tests.observe.test_access_log import entry, head


def cells() -> list[int]:
    return [0] * len(ROWS)


def test_recording_does_nothing_but_remember() -> None:
    counted = cells()
    ledger = Ledger(counted, None)
    ledger.record(entry(head()))

    assert ledger.waiting == 1
    assert not any(counted)


def test_a_flush_counts_and_logs_each_entry_once(tmp_path: Path) -> None:
    counted = cells()
    ledger = Ledger(counted, AccessLog(Sink(tmp_path / "log"), JsonFormat()))
    for number in range(3):
        ledger.record(entry(head(b"/%d" % number), sent=100))
    left = ledger.flush()
    ledger.flush()
    ledger.close()

    assert left == 0
    assert (3, 3, 300) == (
        counted[names.REQUESTS["hit"]], counted[names.REPLIES["2xx"]], counted[names.SENT_BYTES]
    )  # fmt: skip
    assert ["/0", "/1", "/2"] == [json.loads(line)["target"] for line in (tmp_path / "log").read_text().splitlines()]


def test_a_flush_takes_no_more_than_a_batch() -> None:
    counted = cells()
    ledger = Ledger(counted, None)
    for _ in range(BATCH + 10):
        ledger.record(entry(head()))

    assert ledger.flush() == 10
    assert counted[names.REQUESTS["hit"]] == BATCH
    assert ledger.flush() == 0


def test_recording_goes_on_with_the_same_callable_after_a_flush() -> None:
    ledger = Ledger(cells(), None)
    record = ledger.record
    record(entry(head()))
    ledger.flush()
    record(entry(head()))

    assert ledger.waiting == 1


def test_dropped_lines_are_counted() -> None:
    class Full:
        def write(self, data: bytes) -> int:
            return 0

        def close(self) -> None:
            pass

    counted = cells()
    ledger = Ledger(counted, AccessLog(Full(), JsonFormat()))  # type: ignore[arg-type]
    long = head(b"/" + b"x" * 4000)
    for _ in range(3):
        for _ in range(400):
            ledger.record(entry(long))
        ledger.flush()

    assert counted[names.LOG_DROPPED] == 800
    assert counted[names.REQUESTS["hit"]] == 1200
    ledger.close()


def test_what_is_not_in_a_closed_list_counts_as_other() -> None:
    counted = cells()
    count([entry(head(), 999, outcome="novel", fault="novel")], counted)

    assert 1 == counted[names.REQUESTS["other"]] == counted[names.FAULTS["other"]] == counted[names.REPLIES["none"]]


def test_every_outcome_and_every_fault_word_has_its_own_cell() -> None:
    for outcome in names.OUTCOMES:
        counted = cells()
        count([entry(head(), outcome=outcome)], counted)

        assert counted[names.REQUESTS[outcome]] == 1
    for word in names.FAULT_WORDS:
        counted = cells()
        count([entry(head(), fault=word)], counted)

        assert counted[names.FAULTS[word]] == 1


def test_a_reply_that_could_not_be_given_has_no_status_class() -> None:
    counted = cells()
    count([entry(head(), 0)], counted)

    assert counted[names.REPLIES["none"]] == 1


def test_hits_and_forwarded_exchanges_have_a_histogram_each() -> None:
    counted = cells()
    count([entry(head(), duration=0.0001), entry(head(), duration=20.0, outcome="uri-miss")], counted)

    assert counted[names.DURATION_HIT.first] == 1
    assert counted[names.DURATION_FWD.first + len(BUCKETS_S)] == 1
    assert (100, 20_000_000) == (counted[names.DURATION_HIT.sum], counted[names.DURATION_FWD.sum])


@given(st.lists(st.floats(-1.0, 100.0)))
def test_each_duration_falls_into_the_first_bucket_that_holds_it(durations: list[float]) -> None:
    histogram = names.DURATION_FWD
    counted = cells()
    add_durations(list(durations), histogram, counted)
    plain = [0] * (len(BUCKETS_S) + 1)
    for duration in durations:
        plain[next((at for at, border in enumerate(BUCKETS_S) if duration <= border), len(BUCKETS_S))] += 1

    assert plain == counted[histogram.first : histogram.sum]
    assert counted[histogram.sum] >= 0


@given(
    st.lists(
        st.builds(
            entry,
            st.just(head()),
            st.sampled_from([0, 101, 200, 304, 404, 502]),
            outcome=st.sampled_from(names.OUTCOMES),
            sent=st.integers(0, 1 << 40),
            duration=st.floats(0, 30),
        )
    )
)
def test_counting_at_once_equals_counting_one_by_one(entries: list[Entry]) -> None:
    at_once, one_by_one = cells(), cells()
    count(entries, at_once)
    for each in entries:
        count([each], one_by_one)
    for histogram in (names.DURATION_HIT, names.DURATION_FWD):  # sums round once per batch
        assert abs(at_once[histogram.sum] - one_by_one[histogram.sum]) <= len(entries)
        at_once[histogram.sum] = one_by_one[histogram.sum] = 0

    assert one_by_one == at_once


def test_counting_works_on_a_shared_page() -> None:
    page = memoryview(bytearray(8 * len(ROWS))).cast("Q")
    count([entry(head())], page)

    assert page[names.REQUESTS["hit"]] == 1


def test_reopen_flushes_first(tmp_path: Path) -> None:
    path = tmp_path / "log"
    ledger = Ledger(cells(), AccessLog(Sink(path), JsonFormat()))
    ledger.record(entry(head(b"/old")))
    path.rename(tmp_path / "log.1")
    ledger.reopen()
    ledger.record(entry(head(b"/new")))
    ledger.close()

    assert "/old" in (tmp_path / "log.1").read_text()
    assert "/new" in path.read_text()


def test_a_log_opened_by_another_process_takes_over_after_a_flush(tmp_path: Path) -> None:
    ledger = Ledger(cells(), AccessLog(Sink(tmp_path / "log"), JsonFormat()))
    ledger.record(entry(head(b"/old")))
    ledger.replace_log(os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT))
    ledger.record(entry(head(b"/new")))
    ledger.close()

    assert "/old" in (tmp_path / "log").read_text()
    assert "/new" in (tmp_path / "other").read_text()


def test_without_a_log_everything_still_works() -> None:
    ledger = Ledger(cells(), None)
    ledger.record(entry(head()))
    ledger.reopen()
    ledger.replace_log(-1)
    ledger.close()

    assert ledger.waiting == 0
    assert repr(ledger) == "<Ledger waiting=0 log=None>"
