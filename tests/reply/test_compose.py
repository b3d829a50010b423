"""Which fields leave the house, and which stay."""

from __future__ import annotations

import pytest

from edge.message.head import Framing, ReplyHead
from edge.reply.compose import (
    age_at,
    compose_forwarded,
    compose_hit,
    compose_not_modified,
    ttl_at,
)

DATE = (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT")
EPOCH = b"Thu, 01 Jan 1970 00:00:00 GMT"
HTML = (b"content-type", b"text/html")
MISS = b"edge; fwd=uri-miss; stored"


def hit(*fields, status=200, length=10, **more):
    said = {"now_s": 10, "age_base_wall": 0.0, "fresh_until_wall": 60.0, "date_wall": 0.0} | more
    return compose_hit(status, list(fields), length=length, **said)


def forwarded(*fields, status=200, framing=Framing.LENGTH, length=10, **more):
    reply = ReplyHead(status, list(fields), framing=framing, length=length)
    return compose_forwarded(reply, now_wall=0.0, cache_status=MISS, **more)


def not_modified(*fields, **more):
    said = {"now_s": 10, "age_base_wall": 0.0, "fresh_until_wall": 60.0, "date_wall": 0.0} | more
    return compose_not_modified(list(fields), **said)


both = pytest.mark.parametrize("compose", [hit, forwarded])


@both
def test_what_the_origin_said_is_passed_on_in_its_order(compose):
    said = [HTML, (b"set-cookie", b"a=1"), (b"x-one", b"1"), (b"set-cookie", b"b=2"), DATE]

    assert said == compose(*said).fields[:5]


@both
def test_hop_by_hop_fields_stay_behind_with_those_that_connection_names(compose):
    head = compose((b"connection", b"x-internal, close"), (b"x-internal", b"1"), (b"keep-alive", b"5"), (b"te", b"x"))

    assert head.index.keys().isdisjoint({b"connection", b"x-internal", b"keep-alive", b"te"})


@both
def test_the_origins_date_is_kept(compose):
    assert compose(DATE).all(b"date") == [DATE[1]]


@both
def test_a_missing_date_is_that_of_arrival(compose):
    assert compose(HTML).get(b"date") == EPOCH


@both
def test_of_two_dates_one_is_sent(compose):
    assert compose(DATE, (b"date", EPOCH)).all(b"date") == [DATE[1]]


@both
def test_via_is_added_behind_whoever_came_before(compose):
    assert compose((b"via", b"1.1 shop")).get(b"via") == b"1.1 shop, 1.1 edge"


@both
def test_via_may_name_the_version_the_origin_spoke(compose):
    assert compose(via=b"1.0 edge").get(b"via") == b"1.0 edge"


@both
def test_the_cache_status_of_caches_behind_us_stays_before_ours(compose):
    values = compose((b"cache-status", b"inner; hit")).all(b"cache-status")

    assert values[0] == b"inner; hit"
    assert values[1].startswith(b"edge; ")


@both
@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ([], b"Accept-Encoding"),
        ([b""], b"Accept-Encoding"),
        ([b"Cookie"], b"Cookie, Accept-Encoding"),
        ([b"Cookie", b"Origin"], b"Cookie, Origin, Accept-Encoding"),
        ([b"accept-encoding, Cookie"], b"accept-encoding, Cookie"),
        ([b"*"], b"*"),
    ],
)
def test_vary_names_accept_encoding_when_others_would_get_another_coding(compose, said, sent):
    assert compose(*((b"vary", value) for value in said), eligible=True).all(b"vary") == [sent]


@both
def test_vary_is_the_origins_when_nothing_is_coded(compose):
    assert compose((b"vary", b"Cookie"), (b"vary", b"Origin")).all(b"vary") == [b"Cookie", b"Origin"]
    assert compose().get(b"vary") is None


@both
def test_a_coded_variant_has_its_coding_and_its_own_weak_tag(compose):
    head = compose((b"etag", b'"x"'), eligible=True, encoding=b"br")

    assert (b"br", b'W/"x-br"') == (head.get(b"content-encoding"), head.get(b"etag"))


@both
def test_the_origins_own_bytes_keep_their_tag(compose):
    assert compose((b"etag", b'"x"'), eligible=True).get(b"etag") == b'"x"'


@both
def test_a_variant_of_something_with_a_broken_tag_has_none(compose):
    assert compose((b"etag", b"x"), eligible=True, encoding=b"br").get(b"etag") is None


@both
@pytest.mark.parametrize("name", [b"content-md5", b"digest", b"content-digest", b"repr-digest", b"accept-ranges"])
def test_what_is_true_of_the_origins_bytes_only_is_not_said_of_a_variant(compose, name):
    assert compose((name, b"x"), eligible=True, encoding=b"zstd").get(name) is None
    assert name == b"accept-ranges" or compose((name, b"x"), eligible=True).get(name) == b"x"


@both
def test_a_body_that_was_identity_has_one_coding_only(compose):
    head = compose((b"content-encoding", b"identity"), eligible=True, encoding=b"gzip")

    assert head.all(b"content-encoding") == [b"gzip"]


@both
def test_what_the_origin_coded_keeps_its_coding(compose):
    assert compose((b"content-encoding", b"br")).all(b"content-encoding") == [b"br"]


def test_a_copy_offers_ranges_whatever_the_origin_can_do():
    assert hit((b"accept-ranges", b"none")).all(b"accept-ranges") == [b"bytes"]


@pytest.mark.parametrize("status", [204, 301, 404])
def test_only_a_200_offers_ranges(status):
    assert hit(status=status).get(b"accept-ranges") is None


def test_a_copy_that_cannot_be_cut_offers_none():
    assert hit(ranges=False).get(b"accept-ranges") is None


def test_on_its_way_from_the_origin_a_reply_offers_what_the_origin_offers():
    assert forwarded((b"accept-ranges", b"bytes")).get(b"accept-ranges") == b"bytes"
    assert forwarded().get(b"accept-ranges") is None


def test_a_copy_has_one_age_and_it_is_ours():
    assert hit((b"age", b"7"), now_s=100, age_base_wall=40.5).all(b"age") == [b"60"]


def test_age_is_the_caches_behind_us_while_a_reply_passes():
    assert forwarded((b"age", b"7")).get(b"age") == b"7"
    assert forwarded().get(b"age") is None


def test_age_is_never_negative_though_the_clock_jumps_back():
    assert (0, 0, 1, 1) == (age_at(5, 100.0), age_at(100, 100.0), age_at(100, 99.5), age_at(100, 99.0))


def test_ttl_is_rounded_down_so_that_nobody_keeps_it_too_long():
    assert (60, 59, 0, 0, -1, -1) == tuple(ttl_at(100, until) for until in (160.0, 159.9, 100.9, 100.0, 99.9, 99.0))


def test_a_copy_says_it_was_a_hit_unless_told_otherwise():
    assert hit().get(b"cache-status") == b"edge; hit; ttl=50"
    assert (
        hit(cache_status=b"edge; fwd=stale; fwd-status=304").get(b"cache-status") == b"edge; fwd=stale; fwd-status=304"
    )


@pytest.mark.parametrize(
    ("status", "length", "to_head", "framing", "said"),
    [
        (200, 10, False, Framing.LENGTH, 10),
        (200, None, False, Framing.CHUNKED, None),
        (200, 10, True, Framing.NONE, 10),
        (200, None, True, Framing.NONE, None),
        (204, 0, False, Framing.NONE, None),
    ],
)
def test_framing_follows_what_is_known_of_the_body(status, length, to_head, framing, said):
    head = hit(status=status, length=length, to_head=to_head)

    assert (framing, said) == (head.framing, head.length)


def test_a_body_from_the_origin_keeps_its_length_until_we_code_it():
    assert (Framing.LENGTH, 10) == (forwarded().framing, forwarded().length)
    assert forwarded(encoding=b"br").framing is Framing.CHUNKED


def test_a_body_that_was_coded_whole_has_the_length_of_what_came_of_it():
    reply = ReplyHead(200, [], framing=Framing.LENGTH, length=10)
    head = compose_forwarded(reply, now_wall=0.0, cache_status=MISS, encoding=b"br", length=4)

    assert (Framing.LENGTH, 4) == (head.framing, head.length)


def test_a_body_that_ends_with_the_origins_connection_is_chunked_by_us():
    assert forwarded(framing=Framing.CLOSE, length=None).framing is Framing.CHUNKED


def test_the_reply_to_head_tells_the_length_only_if_it_is_the_bodys():
    assert forwarded(framing=Framing.NONE, to_head=True).length == 10
    assert forwarded(framing=Framing.NONE, to_head=True, encoding=b"br").length is None


def test_the_origins_reason_is_passed_on():
    reply = ReplyHead(200, [], b"Fine", framing=Framing.LENGTH, length=0)

    assert compose_forwarded(reply, now_wall=0.0, cache_status=MISS).reason == b"Fine"


def test_a_304_from_the_origin_names_the_variant_without_its_coding():
    head = forwarded((b"etag", b'"x"'), status=304, framing=Framing.NONE, length=None, encoding=b"br", eligible=True)

    assert (b'W/"x-br"', None, b"Accept-Encoding") == tuple(map(head.get, (b"etag", b"content-encoding", b"vary")))


def test_a_304_carries_what_a_cache_updates_and_not_what_describes_a_body():
    kept = [
        (b"cache-control", b"max-age=60"),
        (b"content-location", b"/a"),
        DATE,
        (b"etag", b'"x"'),
        (b"expires", EPOCH),
        (b"vary", b"Cookie"),
        (b"access-control-allow-origin", b"*"),
    ]
    dropped = [HTML, (b"content-encoding", b"br"), (b"content-language", b"en"), (b"last-modified", EPOCH)]
    head = not_modified(*kept, *dropped)

    ours = [(b"via", b"1.1 edge"), (b"age", b"10"), (b"cache-status", b"edge; hit; ttl=50")]
    assert [*kept, *ours] == head.fields
    assert (304, Framing.NONE, None) == (head.status, head.framing, head.length)


def test_a_304_without_a_tag_keeps_the_date_that_took_its_place():
    assert not_modified((b"last-modified", EPOCH)).get(b"last-modified") == EPOCH


def test_a_304_for_a_variant_has_the_variants_tag():
    head = not_modified((b"etag", b'"x"'), encoding=b"br", eligible=True)

    assert (b'W/"x-br"', b"Accept-Encoding") == (head.get(b"etag"), head.get(b"vary"))


def test_a_304_may_say_that_the_origin_was_asked():
    assert not_modified(cache_status=MISS).get(b"cache-status") == MISS


@both
def test_composing_writes_to_nothing_it_was_given(compose):
    fields = [HTML, (b"vary", b"Cookie"), (b"etag", b'"x"'), (b"age", b"3")]
    before = list(fields)
    compose(*fields, eligible=True, encoding=b"br")

    assert before == fields
