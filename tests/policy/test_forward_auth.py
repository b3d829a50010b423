"""What a service is asked about a request, and what its answer means."""

from __future__ import annotations

import pytest

from edge.message.head import Framing, ReplyHead, RequestHead
from edge.policy import forward_auth


def head(fields=(), method: bytes = b"POST", target: bytes = b"/a?b") -> RequestHead:
    return RequestHead(method, b"https", b"shop.example", target, list(fields), framing=Framing.CHUNKED)


def test_it_is_asked_about_the_request_and_not_for_the_thing() -> None:
    asked = forward_auth.question(
        head(
            [
                (b"cookie", b"a"), (b"range", b"bytes=0-"), (b"if-none-match", b"*"), (b"upgrade", b"websocket"),
                (b"connection", b"upgrade, x-mine"), (b"x-mine", b"1"), (b"x-forwarded-uri", b"/other"),
                (b"x_forwarded_method", b"GET"), (b"content-type", b"text/plain"),
            ]
        ),
        b"/check",
    )  # fmt: skip

    assert (b"GET", b"/check", b"shop.example", Framing.NONE) == (
        asked.method,
        asked.target,
        asked.authority,
        asked.framing,
    )
    assert [(b"cookie", b"a")] == asked.fields
    assert [(b"x-forwarded-method", b"POST"), (b"x-forwarded-uri", b"/a?b")] == forward_auth.about(head())


@pytest.mark.parametrize(
    ("status", "yes", "no"),
    [
        (200, True, False),
        (204, True, False),
        (302, False, True),
        (401, False, True),
        (304, False, False),
        (500, False, False),
        (101, False, False),
    ],
)
def test_a_status_is_a_yes_a_no_or_a_failure(status: int, yes: bool, no: bool) -> None:
    reply = ReplyHead(status, [])

    assert (yes, no) == (forward_auth.is_yes(reply), forward_auth.is_no(reply))


def test_two_requests_are_alike_if_all_that_it_hears_is() -> None:
    one = head([(b"cookie", b"a"), (b"user-agent", b"x")])

    def key(other: RequestHead, address: str = "192.0.2.1", only=None) -> bytes:
        return forward_auth.question_key(other, address, only)

    same = head([(b"cookie", b"a"), (b"user-agent", b"x"), (b"range", b"bytes=0-")])
    assert key(one) == key(same)
    for other in (
        head([(b"cookie", b"b"), (b"user-agent", b"x")]),
        head([(b"cookie", b"a"), (b"user-agent", b"x")], method=b"GET"),
        head([(b"cookie", b"a"), (b"user-agent", b"x")], target=b"/b"),
        head([(b"cookie", b"auser-agent"), (b"x", b"")]),
    ):
        assert key(one) != key(other)
    assert key(one) != key(one, "192.0.2.2")


def test_what_it_goes_by_tells_clients_apart_and_what_is_asked_for_always_counts() -> None:
    only = frozenset({b"cookie", b"authorization"})
    one = head([(b"cookie", b"a"), (b"user-agent", b"x")])

    def key(other: RequestHead, address: str = "192.0.2.1", by=only, *, whole_host: bool = False) -> bytes:
        return forward_auth.question_key(other, address, by, whole_host=whole_host)

    assert key(one) == key(head([(b"user-agent", b"y"), (b"cookie", b"a")]), "192.0.2.2")
    for other in (
        head([(b"cookie", b"a")], method=b"DELETE"),
        head([(b"cookie", b"a")], target=b"/admin"),
        head([(b"cookie", b"b")]),
        head([(b"cookie", b"a"), (b"authorization", b"b")]),
    ):
        assert key(one) != key(other)
    assert key(one, whole_host=True) == key(
        head([(b"cookie", b"a")], method=b"DELETE", target=b"/admin"), whole_host=True
    )
    assert key(one, whole_host=True) != key(head([(b"cookie", b"b")]), whole_host=True)
    nobody = head([(b"user-agent", b"x")])
    assert key(nobody) == key(nobody)
    assert key(nobody) != key(nobody, "192.0.2.2")
    assert key(nobody, whole_host=True) != key(nobody, "192.0.2.2", whole_host=True)
    with_address = only | {b"x-forwarded-for"}
    assert key(one, by=with_address) != key(one, "192.0.2.2", with_address)
    assert key(one, by=with_address) == key(
        head([(b"cookie", b"a"), (b"x-forwarded-for", b"198.51.100.1")]), by=with_address
    )


def test_a_refusal_is_kept_by_nobody_and_long_bodies_are_left_out() -> None:
    reply = ReplyHead(401, [(b"www-authenticate", b"x"), (b"connection", b"close"), (b"content-type", b"text/html")])

    assert (
        ReplyHead(
            401,
            [(b"www-authenticate", b"x"), (b"content-type", b"text/html"), (b"cache-control", b"no-store")],
            framing=Framing.LENGTH,
            length=2,
        ),
        b"no",
    ) == forward_auth.refusal(reply, b"no")
    assert ([(b"www-authenticate", b"x"), (b"cache-control", b"no-store")], b"") == (
        forward_auth.refusal(reply, None)[0].fields, forward_auth.refusal(reply, None)[1],
    )  # fmt: skip


def test_an_answer_may_forbid_its_being_kept() -> None:
    assert forward_auth.may_be_kept(ReplyHead(200, []))
    assert not forward_auth.may_be_kept(ReplyHead(200, [(b"cache-control", b"no-store")]))
    assert not forward_auth.may_be_kept(ReplyHead(200, [(b"cache-control", b"no-cache")]))


def test_only_what_was_chosen_is_copied() -> None:
    reply = ReplyHead(200, [(b"x-user", b"a"), (b"x-other", b"b"), (b"connection", b"x-plan"), (b"x-plan", b"c")])

    assert ((b"x-user", b"a"),) == forward_auth.copied(reply, frozenset({b"x-user", b"x-plan"}))
