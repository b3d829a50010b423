"""Saying the same again is sending the same bytes."""

from hypothesis import given
from hypothesis import strategies as st

from edge.http.h1.render import field_lines, request_head
from edge.message.head import Framing, RequestHead
from edge.origin.request import Aim, Said, may_be_said_again, origin_request

FIELDS = st.lists(
    st.sampled_from(
        [
            (b"accept", b"*/*"),
            (b"accept-encoding", b"br"),
            (b"connection", b"x-hop"),
            (b"x-hop", b"1"),
            (b"x-forwarded-for", b"10.0.0.1"),
            (b"x_forwarded_for", b"10.0.0.1"),
            (b"if-none-match", b'W/"a-br"'),
            (b"if-range", b'W/"a-br"'),
            (b"range", b"bytes=0-1"),
            (b"via", b"1.1 other"),
            (b"x-request-id", b"theirs"),
            (b"cookie", b"a=1"),
        ]
    ),
    max_size=6,
)


def head(fields, target=b"/a", authority=b"shop.example", **more):
    return RequestHead(b"GET", b"https", authority, target, fields, **more)


def written(request):
    return request_head(request.method, request.target, request.authority, request.fields, b"", request.lines)


def told(it, aim, number):
    return origin_request(
        it, peer=b"192.0.2.1", trusted=False, request_id=number, aim=aim, identity=True, encodings=(b"br",)
    )


@given(FIELDS, st.sampled_from([Aim.PASS, Aim.WHOLE]), st.sampled_from([b"/a", b"/b?c"]))
def test_what_is_said_again_is_what_would_be_said_anew(fields, aim, target):
    first, second = head(fields), head(fields, target)
    assert may_be_said_again(first, aim, trusted=False)
    before = told(first, aim, b"id-1")
    said = Said(first, aim, field_lines([entry for entry in before.fields if entry[0] != b"x-request-id"]))
    again = said.again(second, aim, b"id-2")

    assert again is not None
    assert written(again) == written(told(second, aim, b"id-2"))


def test_other_fields_another_host_or_another_aim_are_said_anew():
    fields = [(b"accept", b"*/*")]
    said = Said(head(fields), Aim.PASS, b"accept: */*\r\n")

    assert said.again(head(fields), Aim.PASS, b"1") is not None
    assert said.again(head(list(fields)), Aim.PASS, b"1") is None
    assert said.again(head(fields, authority=b"b.example"), Aim.PASS, b"1") is None
    assert said.again(head(fields), Aim.WHOLE, b"1") is None


def test_what_depends_on_more_than_the_fields_is_not_remembered():
    fields = [(b"accept", b"*/*")]

    assert not may_be_said_again(head(fields), Aim.PASS, trusted=True)
    assert not may_be_said_again(head(fields), Aim.REFRESH, trusted=False)
    assert not may_be_said_again(head(fields, framing=Framing.CHUNKED), Aim.PASS, trusted=False)
    assert not may_be_said_again(head(fields, upgrade=b"websocket"), Aim.PASS, trusted=False)
    assert not may_be_said_again(head(fields, version=10), Aim.PASS, trusted=False)
    assert not may_be_said_again(head([(b"te", b"trailers")]), Aim.PASS, trusted=False)
