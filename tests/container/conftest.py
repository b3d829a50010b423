"""One container for all tests here, with the edge installed by the very lines of systemd/README.md."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.tls.selfsigned import Authority
from tests.container import machine as machines
from tests.container.machine import Machine
from tests.container.service import Service

REPOSITORY = Path(__file__).parents[2]
LEFT_OUT = (".*", "__pycache__", "*.egg-info", "build", "made", "out")
BUILDERS = ("setuptools>=68", "wheel")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why_not = machines.missing()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.container)
            item.add_marker(pytest.mark.timeout(600))  # the first has to wait for the container
            if why_not:
                item.add_marker(pytest.mark.skip(reason=why_not))


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    with machines.locked(), machines.booted(share={_wheels(): "/wheels"}) as machine:
        _install(machine)
        yield machine


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    """The service as it is after its installation: its sockets listen, nothing runs, nothing is cached."""
    service = Service(machine, Authority())
    with machine.network():
        service.begin()
        yield service


def _wheels() -> Path:
    """What the edge needs, for the container's Python, fetched once: in there is no network but its own."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needs = [*project["dependencies"], *project["optional-dependencies"]["test"]]

    def fetch(folder: Path) -> None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--only-binary=:all:", "--python-version=3.11", f"--dest={folder}", *needs, *BUILDERS]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    return machines.kept("wheels", (*needs, *BUILDERS), fetch)


def _install(machine: Machine) -> None:
    checkout = machine.path("/root/edge")
    shutil.copytree(REPOSITORY, checkout, ignore=shutil.ignore_patterns(*LEFT_OUT))
    install, _, start = machines.lines_of(checkout / "systemd/README.md")[:3]
    machine.run("sh", "-ec", f"cd /root/edge\n{install}", timeout_s=300, **machines.OFFLINE)
    machine.run("sh", "-ec", start.replace("--now ", ""))
    machine.run("systemctl", "log-level", "debug")  # what was notified, word for word
