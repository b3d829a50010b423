"""
The suite behind cache-tests.fyi, over TLS, against a node of two workers.

Its last release is fetched from npm. ``EDGE_CACHE_TESTS=DIR`` runs a checkout of its repository instead, with
``npm install --no-save undici@7 liquidjs@10`` done in it. README.md beside this file explains every failure; one
that it does not explain fails here, and so does an explanation of a test that passes.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance import suite as suites
from tests.conformance.suite import Outcome, Suite, Unavailable
from tests.kit.node import free_ports, node

pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.timeout(400)]

FLOOR = {"release": (141, 79), "head": (159, 98)}
"""Required and optional tests that pass, by edition."""

MOST_AGAIN = 3
"""
Unexplained failures that are tried again alone. The suite runs 25 or 100 tests at once and counts in seconds; on a machine
with two busy cores its own pauses come out too long now and then. Who passes alone is named in the line.
"""


@pytest.fixture(scope="module")
def suite() -> Suite:
    """The checkout that was named, or else the release."""
    named = os.environ.get("EDGE_CACHE_TESTS")
    try:
        return suites.checkout(Path(named)) if named else suites.release()
    except Unavailable as why:
        pytest.skip(str(why))


def explained(edition: str) -> dict[str, str]:
    """Read the tables of README.md: each test that fails in *edition*, with its kind."""
    found = {}
    for line in (Path(__file__).parent / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")][1:-1]
        if len(cells) == 4 and cells[0].startswith("`") and cells[2] in {edition, "both"}:
            assert cells[3], f"{cells[0]} is not explained"
            found[cells[0].strip("`")] = cells[1]
    return found


async def test_every_disagreement_with_the_suite_is_explained(suite: Suite, tmp_path: Path, say) -> None:
    """The suite is the best public judge of a cache; where it is wrong we say so, and where we are, it shows."""
    (port,) = free_ports(1)
    origin = {"suite": {"servers": [f"http://127.0.0.1:{port}"]}}
    async with (
        suites.server(suite, port, tmp_path),
        node(tmp_path, start=False, origin=None, route=[{"origin": "suite"}]) as edge,
    ):
        edge.config["origin"] = origin
        edge.write()
        edge.certify("localhost")
        ca = tmp_path / "ca.pem"
        ca.write_bytes(edge.authority.pem)
        await edge.start()
        base = f"https://localhost:{edge.port}"
        outcomes = await suites.run(suite, base, ca, tmp_path)
        known = explained(suite.edition)
        again = [each for each in outcomes if not each.ok and each.kind != "check" and each.id not in known]
        late = [each.id for each in again[:MOST_AGAIN] if await suites.passes_alone(suite, base, ca, each.id)]
        await edge.stop()

    outcomes = [replace(each, ok=True) if each.id in late else each for each in outcomes]
    required, optional = count(outcomes, "required"), count(outcomes, "optimal")
    alone = f" (alone: {', '.join(late)})" if late else ""
    say(f"cache-tests {suite.edition}: required {_of(required)}, optional {_of(optional)}{alone}")
    failed = {each.id: each for each in outcomes if not each.ok and each.kind != "check"}

    unexplained = [f"{each.id} ({each.kind}): {each.why}" for name, each in failed.items() if name not in known]
    assert not unexplained, "README.md does not explain:\n" + "\n".join(unexplained)
    assert set() == known.keys() - failed.keys(), "these pass now: take them out of README.md"
    assert FLOOR[suite.edition][0] <= required[0]
    assert FLOOR[suite.edition][1] <= optional[0]


def count(outcomes: list[Outcome], kind: str) -> tuple[int, int]:
    """How many of a kind passed, and how many there are."""
    passed = [each.ok for each in outcomes if each.kind == kind]
    return sum(passed), len(passed)


def _of(counted: tuple[int, int]) -> str:
    return f"{counted[0]}/{counted[1]}"
