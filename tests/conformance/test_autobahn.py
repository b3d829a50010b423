"""
The Autobahn fuzzing client, against a server directly and through a node of two workers, plain and with TLS.

The suite is fetched from PyPI and runs on Python 2.7. ``test_websocket.py`` compares the same families of cases where it
cannot be had.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import autobahn
from tests.conformance.autobahn import Outcome, Suite, Unavailable
from tests.kit.node import free_ports, node

pytestmark = [pytest.mark.peers, pytest.mark.long, pytest.mark.timeout(3600)]

GROUPS = [*(f"12.{number}" for number in range(1, 6)), *(f"13.{number}" for number in range(1, 8))]

PARTS = {
    "protocol": (["*"], ["9.*", "12.*", "13.*"], 240),
    "limits": (["9.*"], [], 50),
    "compression": ([f"{group}.1" for group in GROUPS], [], 12),
    "all compression": (["12.*", "13.*"], [], 200),
}
"""
The suite in parts: its cases, those that are left out, and how many there are at least.

A case of compression is a thousand messages of up to 128 KiB, and there are 216 of them: most of an hour. So one of each group,
which differ in what is negotiated, is a part of its own.
"""

MOST_AGAIN = 5
"""Cases that come out otherwise are tried again: on a busy machine the suite's own timers end some early, on either way."""


@pytest.fixture(scope="module")
def suite() -> Suite:
    try:
        return autobahn.release()
    except Unavailable as why:
        pytest.skip(str(why))


@pytest.mark.parametrize("part", PARTS)
async def test_the_edge_passes_what_the_server_passes(suite: Suite, tmp_path: Path, part: str, say) -> None:
    cases, without, least = PARTS[part]
    port, plain = free_ports(2)
    async with (
        autobahn.echo_server(port, tmp_path),
        node(tmp_path, start=False, route=[{"origin": "echo"}]) as edge,
    ):
        edge.config["origin"] = {"echo": {"servers": [f"http://127.0.0.1:{port}"]}}
        edge.config["listener"].append({"address": f"127.0.0.1:{plain}"})
        edge.write()
        await edge.start()
        ways = {
            "direct": f"ws://127.0.0.1:{port}",
            "plain": f"ws://127.0.0.1:{plain}",
            "tls": f"wss://127.0.0.1:{edge.port}",
        }
        outcomes = await autobahn.run(suite, ways, cases, without, tmp_path)
        again = different(outcomes)
        if again and len(again) <= MOST_AGAIN:
            for way, found in (await autobahn.run(suite, ways, again, [], tmp_path)).items():
                outcomes[way] |= found
        await edge.stop()

    for way, found in outcomes.items():
        say(f"autobahn {part} {way}: {sum(each.ok for each in found.values())}/{len(found)}")
    assert len(outcomes["direct"]) >= least
    assert {} == {case: [found[case] for found in outcomes.values()] for case in different(outcomes)}


def different(outcomes: dict[str, dict[str, Outcome]]) -> list[str]:
    """Return the cases that do not come out alike: passed or not, and closed with the same code."""
    ways = list(outcomes.values())
    return [case for case in ways[0] if len({(found[case].ok, found[case].code) for found in ways}) > 1]
