"""A line says what happened, whatever the client tried to write into it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.message.head import RequestHead
from edge.observe import access_log
from edge.observe.access_log import (
    BACKLOG_BYTES,
    MEMO_ENTRIES,
    AccessLog,
    CombinedFormat,
    Entry,
    Format,
    JsonFormat,
    combined_text,
    json_text,
    make_format,
)
from edge.observe.sink import Sink

ENDED = 1_763_926_855.5  # 2025-11-23 19:40:55.5 UTC


def head(
    target: bytes = b"/a?b", *fields: tuple[bytes, bytes], method: bytes = b"GET", version: int = 11
) -> RequestHead:
    return RequestHead(method, b"https", b"shop.example", target, list(fields), version=version)


def entry(
    head_: RequestHead | None = None,
    status: int = 200,
    *,
    ended: float = ENDED,
    client: str = "192.0.2.1",
    tls: str = "TLSv1.3",
    sent: int = 1024,
    duration: float = 0.000045,
    outcome: str = "hit",
    encoding: str = "",
    origin: str = "",
    origin_s: float = 0.0,
    request_id: str = "",
    fault: str = "",
    detail: str = "",
) -> Entry:
    return (
        ended, client, tls, head_, status, sent, duration, outcome, encoding, origin, origin_s, request_id, fault, detail
    )  # fmt: skip


def one(format_: Format, entry_: Entry) -> str:
    (line,) = format_.lines([entry_])
    return line


def test_a_hit_in_json_has_what_it_needs_and_nothing_empty() -> None:
    line = one(JsonFormat(), entry(head(b"/a?b", (b"user-agent", b"curl/8"), (b"referer", b"https://x/"))))

    assert {
        "time": "2025-11-23T19:40:55.500Z",
        "client": "192.0.2.1",
        "tls": "TLSv1.3",
        "method": "GET",
        "host": "shop.example",
        "target": "/a?b",
        "protocol": "HTTP/1.1",
        "agent": "curl/8",
        "referer": "https://x/",
        "status": 200,
        "bytes": 1024,
        "duration_ms": 0.045,
        "cache": "hit",
    } == json.loads(line)
    assert line.endswith("}\n")


def test_a_failed_fetch_in_json_names_origin_request_and_fault() -> None:
    line = one(
        JsonFormat(),
        entry(
            head(),
            502,
            tls="",
            outcome="uri-miss",
            encoding="br",
            origin="shop/http://127.0.0.1:8001",
            origin_s=1.5,
            request_id="5f3a",
            fault="connection_refused",
            detail='"nobody"\nhome',
        ),
    )
    said = json.loads(line)

    assert "tls" not in said
    assert ("shop/http://127.0.0.1:8001", 1500.0) == (said["origin"], said["origin_ms"])
    assert ("br", "5f3a", "connection_refused", '"nobody"\nhome') == (
        said["encoding"], said["request_id"], said["fault"], said["detail"]
    )  # fmt: skip
    assert line.count("\n") == 1


def test_what_was_no_request_has_no_method_in_json_and_a_dash_in_combined() -> None:
    refused = entry(None, 400, outcome="none", fault="http_request_error")

    assert "method" not in json.loads(one(JsonFormat(), refused))
    assert '192.0.2.1 - - [23/Nov/2025:19:40:55 +0000] "-" 400 1024 "-" "-"\n' == one(CombinedFormat(), refused)


@pytest.mark.parametrize(
    ("line", "said", "combined"),
    [
        (b"GET /a?b HTTP/3.0", {"method": "GET", "target": "/a?b"}, "GET /a?b HTTP/3.0"),
        (b"GET /a", {"method": "GET", "target": "/a"}, "GET /a"),
        (b"GE", {"method": "GE"}, "GE"),
        (b'\x16\x03" /\n', {"method": '\x16\x03"', "target": "/\n"}, r"\x16\x03\" /\x0a"),
    ],
)
def test_of_what_was_not_understood_the_log_has_what_came_of_its_first_line(
    line: bytes, said: dict[str, str], combined: str
) -> None:
    refused = entry(line, 400, outcome="none", fault="http_request_error")
    found = json.loads(one(JsonFormat(), refused))

    assert said == {key: found[key] for key in ("method", "target", "host", "protocol") if key in found}
    assert f' "{combined}" 400 1024 "-" "-"\n' in one(CombinedFormat(), refused)


def test_combined_is_what_apache_and_nginx_write() -> None:
    line = one(CombinedFormat(), entry(head(b"/a?b", (b"user-agent", b"curl/8"), (b"referer", b"https://x/"))))

    assert '192.0.2.1 - - [23/Nov/2025:19:40:55 +0000] "GET /a?b HTTP/1.1" 200 1024 "https://x/" "curl/8"\n' == line


def test_what_an_origin_calls_its_coding_cannot_break_the_line() -> None:
    assert json.loads(one(JsonFormat(), entry(head(), encoding='x"\n')))["encoding"] == 'x"\n'


def test_a_client_on_a_unix_socket_is_a_dash_in_combined() -> None:
    assert one(CombinedFormat(), entry(head(), client="")).startswith("- - - [")


@pytest.mark.parametrize(("version", "name"), [(10, "HTTP/1.0"), (11, "HTTP/1.1"), (20, "HTTP/2.0"), (99, "HTTP")])
def test_both_formats_name_the_protocol(version: int, name: str) -> None:
    asked = entry(head(version=version))

    assert name == json.loads(one(JsonFormat(), asked))["protocol"]
    assert f'"GET /a?b {name}"' in one(CombinedFormat(), asked)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", '"plain"'),
        (b'a"b\\c', r'"a\"b\\c"'),
        (b"a\r\nb\x00\x1b[2J", r'"a\r\nb\u0000\u001b[2J"'),
        ("grün".encode(), r'"gr\u00fcn"'),
        (b"\xff\xfe", r'"\\xff\\xfe"'),
        ("\u202e".encode(), r'"\u202e"'),
    ],
)
def test_json_text_is_a_json_string_in_ascii(raw: bytes, text: str) -> None:
    assert text == json_text(raw)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b'a"b\\c', r"a\"b\\c"),
        (b"a\r\nb\x00\x7f", r"a\x0d\x0ab\x00\x7f"),
        (b"\xc3\xbc", r"\xc3\xbc"),
    ],
)
def test_combined_text_escapes_as_apache_does(raw: bytes, text: str) -> None:
    assert text == combined_text(raw)


wild = st.binary(max_size=40)


@given(method=wild, target=wild, authority=wild, agent=wild, referer=wild, detail=st.text(max_size=40))
def test_any_bytes_give_one_line_of_printable_ascii(
    method: bytes, target: bytes, authority: bytes, agent: bytes, referer: bytes, detail: str
) -> None:
    asked = RequestHead(method, b"https", authority, target, [(b"user-agent", agent), (b"referer", referer)])
    for format_ in (JsonFormat(), CombinedFormat()):
        for who in (asked, method + b" " + target):
            line = one(format_, entry(who, detail=detail))

            assert line.endswith("\n")
            assert line[:-1].isprintable()
            assert line.isascii()


@given(agent=st.text(max_size=40))
def test_json_gives_back_any_text(agent: str) -> None:
    try:
        raw = agent.encode()
    except UnicodeEncodeError:
        return
    line = one(JsonFormat(), entry(head(b"/", (b"user-agent", raw))))

    assert agent == json.loads(line)["agent"]


def test_a_remembered_format_writes_what_a_fresh_one_writes() -> None:
    """Memos may not leak from one line into another: same heads, other heads, other seconds, in any order."""
    heads = [head(b"/%d" % number, (b"user-agent", b"agent %d" % (number % 3))) for number in range(5)]
    entries = [
        entry(heads[number % 5], 200 + number, ended=ENDED + number * 0.7, duration=number / 1e6)
        for number in range(40)
    ]
    for remembered, make in ((JsonFormat(), JsonFormat), (CombinedFormat(), CombinedFormat)):
        assert [one(make(), each) for each in entries] == remembered.lines(entries)


def test_memos_are_bounded() -> None:
    format_ = JsonFormat()
    format_.lines([entry(head(b"/%d" % number), duration=number / 1e6) for number in range(MEMO_ENTRIES + 50)])
    long = b"/" + b"x" * 2000
    format_.lines([entry(head(long))])

    assert len(format_._escaped) <= MEMO_ENTRIES
    assert len(format_._ms) <= MEMO_ENTRIES
    assert long not in format_._escaped


def test_a_format_is_made_by_the_name_the_configuration_uses() -> None:
    assert [JsonFormat, CombinedFormat] == [type(make_format(name)) for name in ("json", "combined")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def log(path: Path) -> Iterator[AccessLog]:
    log = AccessLog(Sink(path), CombinedFormat())
    yield log
    log.close()


def test_a_batch_is_in_the_file_when_write_returns(log: AccessLog, path: Path) -> None:
    log.write([entry(head(b"/1")), entry(head(b"/2"))])

    assert ["/1", "/2"] == [line.split()[6] for line in path.read_text().splitlines()]


def test_after_reopen_lines_go_to_the_new_file(log: AccessLog, path: Path) -> None:
    log.write([entry(head(b"/old"))])
    path.rename(path.with_suffix(".1"))
    log.reopen()
    log.write([entry(head(b"/new"))])

    assert "/old" in path.with_suffix(".1").read_text()
    assert "/new" in path.read_text()
    assert "/old" not in path.read_text()


def test_a_descriptor_opened_by_another_process_can_take_over(log: AccessLog, tmp_path: Path) -> None:
    other = tmp_path / "other.log"
    log.replace(os.open(other, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    log.write([entry(head(b"/new"))])

    assert "/new" in other.read_text()


class Stubborn:
    """A sink that takes so many bytes and no more."""

    def __init__(self) -> None:
        self.takes = 0
        self.got = b""

    def write(self, data: bytes) -> int:
        taken = data[: self.takes]
        self.takes -= len(taken)
        self.got += taken
        return len(taken)

    def close(self) -> None:
        pass

    def reopen(self) -> None:
        self.takes = 1 << 30


def stubborn_log() -> tuple[Stubborn, AccessLog]:
    sink = Stubborn()
    return sink, AccessLog(sink, CombinedFormat())  # type: ignore[arg-type]


def test_what_the_sink_does_not_take_is_written_later_in_order() -> None:
    sink, log = stubborn_log()
    sink.takes = 10
    log.write([entry(head(b"/1"))])
    log.write([entry(head(b"/2"))])
    sink.takes = 1 << 30
    log.write([])

    assert ["/1", "/2"] == [line.split()[6] for line in sink.got.decode().splitlines()]
    assert log.dropped == 0


def test_a_log_nobody_reads_drops_whole_lines_and_counts_them() -> None:
    sink, log = stubborn_log()
    batch = [entry(head(b"/" + b"x" * 1000))] * 500
    written = 0
    while not log.dropped:
        log.write(batch)
        written += 500
    sink.takes = 1 << 30
    log.write([])

    assert len(log._pending) == 0
    assert written - log.dropped == sink.got.count(b"\n")
    assert sink.got.endswith(b"\n")
    assert len(sink.got) < 2 * BACKLOG_BYTES


def test_reopening_loses_nothing_that_was_pending() -> None:
    sink, log = stubborn_log()
    log.write([entry(head(b"/1"))])
    log.reopen()
    log.write([])

    assert b"/1" in sink.got


def test_closing_counts_what_could_not_be_written() -> None:
    _, log = stubborn_log()
    log.write([entry(head(b"/1")), entry(head(b"/2"))])
    log.close()

    assert log.dropped == 2


def test_the_repr_shows_the_state() -> None:
    _, log = stubborn_log()
    log.write([entry(head(b"/1"))])

    assert "pending=" in repr(log)
    assert "dropped=0" in repr(log)


def test_the_places_others_look_at_are_those_of_the_entry() -> None:
    looked = entry(head(), 207, sent=5, duration=0.25, outcome="stale", fault="word")

    assert (207, 5, 0.25, "stale", "word") == (
        looked[access_log.STATUS],
        looked[access_log.SENT_BYTES],
        looked[access_log.DURATION_S],
        looked[access_log.OUTCOME],
        looked[access_log.FAULT],
    )
