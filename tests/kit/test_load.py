"""A load that notices nothing would prove nothing: every way to fail a request is shown to it once."""

from __future__ import annotations

import ssl

import h11
import pytest
import trio

from edge.tls.selfsigned import Authority
from tests.kit import load as load_module
from tests.kit.load import Tally, answer, body_of, load
from tests.kit.node import Node, free_ports
from tests.kit.origin import Origin, Wire


class Unfaithful(Origin):
    """Serves TLS itself, and does *wrong* to the 20th request of every connection, and later ones."""

    def __init__(self, wrong) -> None:
        super().__init__({b"*": self.misbehave})
        self._wrong = wrong
        self._counts: dict[int, int] = {}
        self.context: ssl.SSLContext

    async def _serve_safely(self, stream) -> None:
        secured = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        try:
            await self._serve(secured)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass

    async def misbehave(self, asked, wire) -> None:
        count = self._counts[asked.connection] = self._counts.get(asked.connection, 0) + 1
        if count < 20:
            await answer(asked, wire)
        else:
            await self._wrong(asked, wire)


async def closes_at_rest(asked, wire: Wire) -> None:
    await answer(asked, wire)
    await wire.stream.aclose()


async def breaks_off(asked, wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    await wire.stream.aclose()


async def closes_unanswered(asked, wire: Wire) -> None:
    await wire.stream.aclose()


async def mixes_up(asked, wire: Wire) -> None:
    asked.body = asked.target = b"/another"
    await answer(asked, wire)


async def has_an_error(asked, wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")


async def says_nothing(asked, wire: Wire) -> None:
    await trio.sleep_forever()


async def tally_of(tmp_path, wrong, monkeypatch, answers: int = 200) -> Tally:
    monkeypatch.setattr(load_module, "PAUSE_S", 0)
    monkeypatch.setattr(load_module, "REQUEST_S", 0.5)
    authority = Authority()
    chain, key = authority.issue(["shop.example"]).write(tmp_path)
    origin = Unfaithful(wrong)
    origin.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    origin.context.load_cert_chain(chain, key)
    async with trio.open_nursery() as nursery:
        await nursery.start(origin.serve)
        node = Node(tmp_path, origin, origin.port, 0, {}, authority)
        async with load(node, keepers=2, callers=1) as tally:
            await tally.more(answers)
        nursery.cancel_scope.cancel()
    node.reap()
    return tally


async def test_a_faithful_server_has_a_clean_tally(tmp_path, monkeypatch):
    tally = await tally_of(tmp_path, answer, monkeypatch)

    tally.assert_clean()
    assert tally.retried == 0
    assert tally.answered >= 200


async def test_a_connection_closed_at_rest_is_no_failure_unless_a_post_was_under_way(tmp_path, monkeypatch):
    tally = await tally_of(tmp_path, closes_at_rest, monkeypatch)

    assert tally.retried > 0
    assert {failure.request.split()[0] for failure in tally.failures} <= {"POST"}


@pytest.mark.parametrize(
    ("wrong", "kind", "what"),
    [
        (breaks_off, "lost", "after some of the reply"),
        (mixes_up, "wrong", "bytes instead of"),
        (has_an_error, "wrong", "status 502"),
        (says_nothing, "lost", "TooSlow"),
    ],
)
async def test_what_fails_is_told(tmp_path, monkeypatch, wrong, kind, what):
    tally = await tally_of(tmp_path, wrong, monkeypatch)

    assert tally.failures
    assert {kind} == {failure.kind for failure in tally.failures}
    assert what in tally.failures[0].what
    with pytest.raises(AssertionError, match=what):
        tally.assert_clean()


async def test_a_reply_that_never_begins_on_a_fresh_connection_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(Unfaithful, "misbehave", lambda self, asked, wire: closes_unanswered(asked, wire))
    tally = await tally_of(tmp_path, closes_unanswered, monkeypatch, 1)

    assert {"lost"} == {failure.kind for failure in tally.failures}
    assert all(failure.is_fresh for failure in tally.failures)


async def test_who_is_not_let_in_is_refused(tmp_path, monkeypatch):
    [port] = free_ports(1)
    async with load(Node(tmp_path, Origin(), port, 0, {}), keepers=1, callers=1) as tally:
        await tally.more(1)

    assert {"refused"} == {failure.kind for failure in tally.failures}


def test_every_target_has_its_own_body():
    bodies = {body_of(b"/passed/%d" % number) for number in range(100)}

    assert len(bodies) == 100
    assert all(1024 <= len(body) <= 40 * 1024 for body in bodies)
