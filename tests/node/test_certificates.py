"""A certificate is renewed while clients are connected; a ticket is good wherever its client comes back to."""

from __future__ import annotations

import os
import signal
import ssl

import pytest

from tests.kit.load import load
from tests.kit.node import Caller, Node, until

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def serial(caller: Caller) -> str:
    return caller.tls.getpeercert()["serialNumber"]


def context_for(node: Node, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = node.trust
    context.minimum_version = context.maximum_version = version
    return context


async def ticket_from(caller: Caller) -> ssl.SSLSession:
    """A session that can be resumed: with TLS 1.3 it comes with the first reply."""
    await caller.get("/kept/0")
    return caller.tls.session


@pytest.mark.slow
async def test_a_renewed_certificate_costs_no_connection_no_worker_and_no_ticket(node_at):
    async with node_at() as node, load(node) as tally:
        await tally.more()
        workers = node.workers
        [[kept_a], [kept_b]] = await node.clients_of(*workers)
        contexts = {version: context_for(node, version) for version in VERSIONS}
        tickets = {version: await ticket_from(await node.client(tls=contexts[version])) for version in VERSIONS}
        before = serial(kept_a)

        since = len(node.log())
        node.certify()
        node.signal(signal.SIGHUP)
        await node.said("reloaded: certificates only, for 2 workers", since=since)
        await tally.more()

        renewed = [serial(caller) for [caller] in await node.clients_of(*workers)]
        resumed = [await node.client(tls=contexts[version], session=tickets[version]) for version in VERSIONS]
        answers = [(await caller.get("/kept/1")).status for caller in (kept_a, kept_b, *resumed)]

        assert workers == node.workers
        assert before not in renewed
        assert len(set(renewed)) == 1
        assert [True, True] == [caller.tls.session_reused for caller in resumed]
        assert [200] * 4 == answers
    tally.assert_clean()
    assert tally.farewells == 0
    assert tally.retried == 0


@pytest.mark.slow
async def test_a_certificate_that_does_not_fit_its_key_changes_nothing(node_at):
    async with node_at() as node, load(node) as tally:
        await tally.more(50)
        workers, before = node.workers, serial(await node.client())
        (node.folder / "certs/privkey.pem").write_bytes(node.authority.issue(["shop.example"]).key)
        node.signal(signal.SIGHUP)
        await node.said("reload refused, nothing changed: .*certificate")
        await tally.more(50)

        assert (workers, before) == (node.workers, serial(await node.client()))
    tally.assert_clean()


@pytest.mark.slow
async def test_a_certificate_for_a_new_name_is_served_at_once_and_its_tickets_resume_everywhere(node_at):
    """Contexts made after the fork must have the same ticket keys in every worker."""
    async with node_at(start=False) as node:
        node.config["certificate"].append({"directory": "tenants"})
        node.write()
        (node.folder / "tenants").mkdir()
        await node.start()
        workers = node.workers
        node.authority.issue(["other.example"]).write(node.folder / "tenants/other")
        node.signal(signal.SIGHUP)
        await node.said("reloaded: certificates only")
        context = context_for(node, ssl.TLSVersion.TLSv1_3)

        ticket = await ticket_from(await node.client(tls=context, name="other.example"))
        found: set[int] = set()
        while found != {*workers}:
            again = await node.client(tls=context, session=ticket, name="other.example")
            found.add(node.holder(again.port))

            assert again.tls.session_reused
        assert workers == node.workers


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS, ids=str)
async def test_a_ticket_from_one_worker_resumes_on_the_other(node_at, version: ssl.TLSVersion):
    async with node_at() as node:
        context = context_for(node, version)
        first, second = node.workers
        [[caller]] = await node.clients_of(first, tls=context)
        ticket = await ticket_from(caller)
        found: set[int] = set()
        while found != {first, second}:
            again = await node.client(tls=context, session=ticket)

            assert again.tls.session_reused
            assert (await again.get("/kept/0")).status == 200
            found.add(node.holder(again.port))
            ticket = again.tls.session
        os.kill(first, signal.SIGKILL)
        await until(lambda: first not in node.workers and len(node.workers) == 2, why=node.tail)
        [third] = {*node.workers} - {second}
        while third not in found:  # one that is born later knows the keys, too
            again = await node.client(tls=context, session=ticket)

            assert again.tls.session_reused
            found.add(node.holder(again.port))
        metrics = await node.metrics()
    assert metrics['edge_tls_handshakes_total{resumed="yes"}'] > 0, metrics
