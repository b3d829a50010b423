"""The installed service, as an operator and as its clients see it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio

from edge.tls.selfsigned import Authority
from tests.container.machine import Machine
from tests.kit.node import HOST, Node, until
from tests.kit.origin import Origin

UNIT = "edge.service"
SOCKETS = ("edge.socket", "edge-http.socket")
CERTIFICATE = "/etc/edge/certs/shop"
DROP_INS = "/etc/systemd/system/edge.service.d"


COMMAND_S = 100.0


class Service:
    """
    The edge in *machine*, whose certificates are of *authority*.

    Attributes:
        node: the same for those who want an address to ask at.
    """

    def __init__(self, machine: Machine, authority: Authority) -> None:
        self.machine = machine
        self.node = Node(machine.path("/etc/edge"), Origin(), 443, 9180, {}, authority)

    def begin(self) -> None:
        """Bring the machine to where its installation has left it."""
        run = self.machine.run
        run("systemctl", "stop", UNIT, *SOCKETS)
        run("sh", "-c", f"rm -rf /var/cache/edge/* /var/log/edge/* {DROP_INS}")
        run("systemctl", "daemon-reload")
        run("systemctl", "reset-failed")
        self.configure()
        self.certify()
        run("systemctl", "start", *SOCKETS)

    def configure(self, *replaced: tuple[str, str], more: str = "") -> None:
        """Write the configuration that is shipped, with some of it *replaced*, and *more* at its end."""
        text = self.machine.path("/root/edge/conf/systemd.toml").read_text()
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        self.machine.path("/etc/edge/edge.toml").write_text(text + more)

    def certify(self) -> None:
        """Write a new certificate, as something that knows nothing of the edge would: for root alone."""
        self.node.authority.issue([HOST]).write(self.machine.path(CERTIFICATE))
        self.machine.run("systemd-tmpfiles", "--create", "edge.conf")

    def drop_in(self, name: str) -> None:
        """Install a drop-in that is shipped."""
        self.machine.run("install", "-D", "-m", "644", f"/root/edge/systemd/drop-ins/{name}", f"{DROP_INS}/{name}")
        self.machine.run("systemctl", "daemon-reload")

    async def do(self, *command: str) -> str:
        """
        Run a command in the machine while everything else goes on.

        Raises:
            Failed: it ended with another code than 0.
        """
        with tempfile.TemporaryFile() as said:
            process = self.machine.start(*command, output=said)
            try:
                await until(lambda: process.poll() is not None, within_s=COMMAND_S, why=f"{command} does not end")
            finally:
                process.kill()
                process.wait()
            return self.machine.result(process, said)

    async def main_pid(self) -> int:
        return int(await self.show("MainPID"))

    async def show(self, name: str) -> str:
        """Return one of the unit's properties."""
        return await self.do("systemctl", "show", "--value", f"--property={name}", UNIT)

    def workers(self) -> list[int]:
        """The workers' pids, as the machine counts."""
        processes = [path for path in self.machine.path("/proc").iterdir() if path.name.isdecimal()]
        return sorted(int(path.name) for path in processes if _name(path).startswith("edge-worker"))

    async def journal(self, cursor: str = "") -> str:
        """What the unit and the manager have said about it, since *cursor*."""
        since = [f"--after-cursor={cursor}"] if cursor else []
        await self.do("journalctl", "--sync")
        return await self.do("journalctl", "--no-pager", "--quiet", "--output=cat", f"--unit={UNIT}", *since)

    async def cursor(self) -> str:
        """Where the journal ends now."""
        said = await self.do("journalctl", "--no-pager", "--quiet", "--lines=0", "--show-cursor")
        return said.rpartition("cursor: ")[2]

    async def is_state(self, wanted: str) -> None:
        """Wait until the unit is *wanted*."""
        while (state := await self.show("ActiveState")) != wanted:
            await trio.sleep(0.02)
            assert state != "failed", await self.journal()


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text()
    except OSError:  # it has ended
        return ""
