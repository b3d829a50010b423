"""What is remembered of heads changes nothing but the time it takes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.errors import ClientFault
from edge.http.h1 import memo as module
from edge.http.h1.head import parse_request_head
from edge.http.h1.memo import BLOCKS, HEAD_BYTES, HeadMemo
from edge.http.limits import HeadLimits
from edge.message.head import RequestHead

LIMITS = HeadLimits(header_count=20)
BLOCK = b"Host: shop.example\r\nAccept: */*\r\nCookie: a=1\r\n\r\n"


def parse(raw: bytes, scheme: bytes = b"https") -> RequestHead:
    return parse_request_head(raw, scheme, LIMITS)


def outcome(act) -> object:
    try:
        return act()
    except ClientFault as fault:
        return fault.reply


def read(memo: HeadMemo, raw: bytes, scheme: bytes = b"https") -> RequestHead:
    return memo.heads.get(raw) or memo.read(raw, scheme, lambda raw: parse(raw, scheme))


def test_the_fields_of_a_known_block_are_not_read_again() -> None:
    memo = HeadMemo()
    first = read(memo, b"GET /1 HTTP/1.1\r\n" + BLOCK)
    calls = []
    second = memo.read(b"HEAD /2?x=%20 HTTP/1.1\r\n" + BLOCK, b"https", calls.append)

    assert calls == []
    assert second.fields is first.fields
    assert second == parse(b"HEAD /2?x=%20 HTTP/1.1\r\n" + BLOCK)
    assert second.known is None


@pytest.mark.parametrize(
    "line",
    [
        b"POST /2 HTTP/1.1",
        b"GET /2 HTTP/1.0",
        b"GET * HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET https://shop.example/2 HTTP/1.1",
        b"GET https://elsewhere.example/2 HTTP/1.1",
        b'GET /"2" HTTP/1.1',
        b"GET /2#x HTTP/1.1",
        b"GET  /2 HTTP/1.1",
        b"GET /2 HTTP/1.1 ",
        b"GET //shop.example/ HTTP/1.1",
    ],
)
def test_a_line_out_of_the_ordinary_is_read_with_everything_behind_it(line: bytes) -> None:
    memo = HeadMemo()
    read(memo, b"GET /1 HTTP/1.1\r\n" + BLOCK)
    raw = line + b"\r\n" + BLOCK

    assert outcome(lambda: read(memo, raw)) == outcome(lambda: parse(raw))


def test_known_fields_without_a_request_line_are_no_request() -> None:
    memo = HeadMemo()
    read(memo, b"GET /1 HTTP/1.1\r\n" + BLOCK)

    assert outcome(lambda: read(memo, BLOCK)) == 400
    assert outcome(lambda: read(memo, b"\n" + BLOCK)) == 400


def test_a_block_that_came_by_another_scheme_is_read_again() -> None:
    memo = HeadMemo()
    raw = b"GET /%d HTTP/1.1\r\nHost: shop.example:80\r\n\r\n"

    assert [read(memo, raw % at, scheme).authority for at, scheme in enumerate((b"https", b"http", b"https"))] == [
        b"shop.example:80",
        b"shop.example",
        b"shop.example:80",
    ]


def test_both_memories_are_bounded() -> None:
    memo = HeadMemo()
    for at in range(BLOCKS + 2):
        read(memo, b"GET / HTTP/1.1\r\nHost: a%d\r\n\r\n" % at)
    read(memo, b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"y" * HEAD_BYTES + b"\r\n\r\n")

    assert len(memo._blocks) == 2
    assert len(memo.heads) == BLOCKS + 2
    memo.clear()
    assert repr(memo) == "<HeadMemo 0 heads, 0 blocks>"


def test_what_has_a_body_is_never_remembered() -> None:
    memo = HeadMemo()
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    heads = [read(memo, raw), read(memo, raw)]

    assert heads[0] is not heads[1]
    assert repr(memo) == "<HeadMemo 0 heads, 0 blocks>"


LINES = st.one_of(
    st.builds(
        lambda method, target, minor: method + b" " + target + b" HTTP/1." + minor,
        st.sampled_from([b"GET", b"HEAD", b"POST", b"get"]),
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(lambda it: b"/" + it.encode()),
        st.sampled_from([b"1", b"0", b"2"]),
    ),
    st.sampled_from([b"GET * HTTP/1.1", b"GET http://a/ HTTP/1.1", b"GET a HTTP/1.1"]),
)
FIELDS = st.lists(
    st.sampled_from(
        [
            b"Host: a",
            b"Host: b",
            b"Accept: */*",
            b"Connection: close",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Content-Length: 2",
            b"Transfer-Encoding: chunked",
            b"Expect: 100-continue",
            b"Te: trailers",
            b"content_length: 1",
            b" folded",
            b"x : y",
        ]
    ),
    max_size=3,
).map(lambda lines: b"".join(line + b"\r\n" for line in lines) + b"\r\n")


@given(st.lists(LINES, min_size=2, max_size=4), FIELDS)
@example([b"GET /1 HTTP/1.1", b"GET /2 HTTP/1.1"], BLOCK)
def test_whatever_came_before_a_head_means_the_same(lines: list[bytes], block: bytes) -> None:
    memo = HeadMemo()
    for line in lines:
        raw = line + b"\r\n" + block

        assert outcome(lambda raw=raw: read(memo, raw)) == outcome(lambda raw=raw: parse(raw))


# -- two generations --------------------------------------------------------------------------------------------


def crowd(memo: HeadMemo, first: int) -> int:
    """Read heads that nobody reads again until the young generation has become the old one; return the next number."""
    young = len(memo.heads)
    number = first
    while len(memo.heads) >= young:
        young = len(memo.heads)
        read(memo, b"GET /%d HTTP/1.1\r\n" % number + BLOCK)
        number += 1
    return number


@pytest.fixture
def small(monkeypatch) -> HeadMemo:
    monkeypatch.setattr(module, "GENERATION_BYTES", 20_000)
    return HeadMemo()


ONE = b"GET /one HTTP/1.1\r\n" + BLOCK


def test_a_head_of_the_generation_before_is_the_same_object_and_young_again(small) -> None:
    one = read(small, ONE)
    crowd(small, 0)

    assert ONE not in small.heads
    assert one is read(small, ONE)
    assert one is small.heads[ONE]


def test_what_is_read_steadily_survives_any_number_of_others(small) -> None:
    """A hot page beside a scan."""
    one = read(small, ONE)
    number = 0
    for _ in range(6):
        number = crowd(small, number)

        assert one is read(small, ONE)


def test_what_came_once_is_forgotten_after_two_generations(small) -> None:
    one = read(small, ONE)
    crowd(small, crowd(small, 0))

    assert one is not read(small, ONE)


def test_two_generations_are_bounded_by_what_they_take(small) -> None:
    number = 0
    for _ in range(5):
        number = crowd(small, number)

    assert max(len(small.heads), len(small._old)) * module.HEAD_COST <= 20_000


def test_an_old_head_that_came_another_way_is_not_taken(small) -> None:
    read(small, ONE, b"http")
    crowd(small, 0)

    assert b"https" == read(small, ONE).scheme


def test_connections_hold_the_young_generation_itself(small) -> None:
    heads = small.heads
    crowd(small, 0)
    small.clear()

    assert heads is small.heads
    assert {} == small._old
