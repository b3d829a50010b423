"""The two lines of README.md, word for word, on a Debian 12 with Debian's own Python."""

from __future__ import annotations

import pytest

from tests.container import machine as machines
from tests.container.machine import Machine

QUICK = "not slow and not container and not peers and not long"
"""The ordinary run has the rest. Here it is Debian's Python that is met: 3.11.2 has patterns and a TLS of its own."""


@pytest.fixture
def lines(machine: Machine) -> list[str]:
    return machines.lines_of(machine.path("/root/edge/README.md"))


def run(machine: Machine, line: str) -> str:
    return machine.run("sh", "-ec", f"cd /root/edge\nrm -rf .venv\n{line}", timeout_s=500, **machines.OFFLINE)


def test_the_demo_comes_up_by_its_line_and_all_it_shows_is_so(machine, lines):
    line = lines[0].rstrip("\n")
    assert line.endswith(".venv/bin/edge demo")

    print(run(machine, f"{line} --check"))


def test_the_tests_pass_by_their_line(machine, lines):
    line = lines[1].rstrip("\n")
    assert line.endswith(".venv/bin/python -m pytest")

    # Stories with real processes meet a busy machine now and then: what failed is run once more by itself, as the check does.
    python = line.rpartition("&& ")[2]
    again = f"{python} -q --last-failed --last-failed-no-failures none"
    print(run(machine, f'{line} -q -m "{QUICK}" || {again}')[-2000:])
