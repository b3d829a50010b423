"""
A Debian 12 with a real systemd, booted in a container on this machine.

Its root is debootstrapped once, from the mirror this machine's apt uses, and kept outside the repository, in
``$EDGE_TEST_CACHE`` (or below /var/tmp). A run boots it under an overlay in memory, in a network of its own, and so leaves
nothing behind but the root it found.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SUITE = "bookworm"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "python3-venv", "curl")
TOOLS = ("debootstrap", "systemd-nspawn", "nsenter", "setpriv", "unshare")

OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
"""How pip installs in a machine without a network, from what has been fetched for it."""

BOOT_S = 60.0
OFF_S = 30.0

_CLONE_NEWNET = 0x40000000
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}


def missing() -> str:
    """Why there can be no container here; empty if there can."""
    if os.geteuid() != 0:
        return "a container needs root"
    absent = [tool for tool in TOOLS if shutil.which(tool, path=_path()) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:{_ENVIRONMENT['PATH']}"


def cache() -> Path:
    """Where what takes long to make is kept between runs."""
    folder = Path(os.environ.get("EDGE_TEST_CACHE") or "/var/tmp/edge-test-cache")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    assert folder.stat().st_uid == os.geteuid(), f"{folder} is somebody else's"
    return folder


@contextmanager
def locked() -> Iterator[None]:
    """One run at a time: a root is made once, and booted once."""
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kept(name: str, key: Sequence[str], make: Callable[[Path], None]) -> Path:
    """Return the folder that ``make(folder)`` filled in this run or an earlier one with the same *key*."""
    digest = hashlib.sha256("\n".join(key).encode()).hexdigest()[:12]
    folder = cache() / f"{name}-{digest}"
    if not folder.exists():
        for older in cache().glob(f"{name}-*"):
            shutil.rmtree(older)
        part = cache() / f"{name}-{digest}.part"
        part.mkdir()
        make(part)
        part.rename(folder)
    return folder


def root() -> Path:
    """Return a pristine Debian."""
    return kept("debian", (SUITE, *PACKAGES), _debootstrap)


def _debootstrap(folder: Path) -> None:
    """Its mounts are in a namespace of their own, and go with it, whatever happens."""
    command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE]
    done = subprocess.run([*command, str(folder), *_mirror()], env=_ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    shutil.rmtree(folder / "var/cache/apt/archives", ignore_errors=True)


def _mirror() -> list[str]:
    """The mirror apt uses here; none, and debootstrap uses its own, where apt installs something else than this Debian."""
    if shutil.which("apt-get") is None:
        return []
    command = ["apt-get", "indextargets", "--format", "$(RELEASE) $(SITE)", "Created-By: Packages"]
    done = subprocess.run(command, capture_output=True, text=True)
    found = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.startswith(f"{SUITE} ")]
    return [site for site in found if "security" not in site][:1]


def lines_of(page: Path) -> list[str]:
    """Every block of shell lines in a page of prose."""
    return re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


class Failed(AssertionError):
    """A command did not end with 0."""


@dataclass
class Machine:
    """
    A running container.

    Attributes:
        leader: its process 1, as seen from here.
    """

    leader: int

    def start(self, *command: str, output: IO[bytes], **variables: str) -> subprocess.Popen[bytes]:
        """Start *command* in it; what it says goes to *output*."""
        return subprocess.Popen(
            ["nsenter", f"--target={self.leader}", "--all", *command],
            env=_ENVIRONMENT | variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def run(self, *command: str, timeout_s: float = 120.0, **variables: str) -> str:
        """
        Run *command* in it, and return what it says.

        Raises:
            Failed: it ended with another code than 0.
        """
        with tempfile.TemporaryFile() as said, self.start(*command, output=said, **variables) as process:
            try:
                process.wait(timeout_s)
            finally:
                process.kill()
            return self.result(process, said)

    @staticmethod
    def result(process: subprocess.Popen[bytes], output: IO[bytes]) -> str:
        """Return what a process that has ended has said, or raise Failed."""
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
        if process.returncode != 0:
            raise Failed(f"{process.args} ended with {process.returncode}:\n{said}")
        return said

    def path(self, inside: str) -> Path:
        """Return a path in it as one that can be used from here."""
        return Path(f"/proc/{self.leader}/root{inside}")

    @contextmanager
    def network(self) -> Iterator[None]:
        """Have this thread, and all it starts, in the container's network for the block."""
        setns = ctypes.CDLL(None, use_errno=True).setns
        with open("/proc/thread-self/ns/net") as home, open(f"/proc/{self.leader}/ns/net") as there:
            assert setns(there.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert setns(home.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


@contextmanager
def booted(*, share: dict[Path, str]) -> Iterator[Machine]:
    """Boot the pristine root for the block; *share* are folders it may read, and where it finds them."""
    command = [
        "systemd-nspawn",
        "--quiet",
        f"--directory={root()}",
        f"--machine=edge-test-{os.getpid()}",
        "--volatile=overlay",
        "--private-network",
        "--console=pipe",
        *(f"--bind-ro={here}:{there}" for here, there in share.items()),
    ]
    if not Path("/run/systemd/system").exists():  # nobody here gives out scopes or registers machines
        command += ["--register=no", "--keep-unit"]
    with (cache() / "boot.log").open("w+b") as log:
        nspawn = subprocess.Popen(
            ["setpriv", "--pdeathsig=TERM", *command, "--boot"],
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield _once_up(nspawn, Path(log.name))
        finally:
            _switch_off(nspawn)
            _remove_groups()


def _once_up(nspawn: subprocess.Popen[bytes], log: Path) -> Machine:
    """Wait until nspawn's child is a machine that is up. It has another child at first, that makes this one."""
    give_up = time.monotonic() + BOOT_S
    while True:
        children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
        for child in children:
            machine = Machine(int(child))
            with suppress(Failed):
                machine.run("systemctl", "is-active", "multi-user.target")
                return machine
        said = log.read_text(errors="replace")
        assert nspawn.poll() is None, f"the container ended with {nspawn.returncode}:\n{said}"
        assert time.monotonic() < give_up, f"the container does not boot:\n{said}"
        time.sleep(0.05)


def _switch_off(nspawn: subprocess.Popen[bytes]) -> None:
    """Shut down in order; a second request, and then SIGKILL, for one that does not hear. Its processes die with it."""
    for end in (nspawn.terminate, nspawn.terminate, nspawn.kill):
        end()
        try:
            nspawn.wait(OFF_S)
        except subprocess.TimeoutExpired:
            continue
        return


def _remove_groups() -> None:
    """Remove the control groups that nspawn makes where nobody gives out scopes, and leaves when they are empty."""
    for name in ("payload/init.scope", "payload", "supervisor"):
        for folder in Path("/sys/fs/cgroup").glob(f"*/{name}"):
            with suppress(OSError):  # somebody else's, and in use
                folder.rmdir()
