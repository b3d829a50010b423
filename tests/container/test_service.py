"""The units of systemd/ under the systemd of Debian 12: started by a socket, reloaded, restarted, killed and stopped under load."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from edge.cache.keeper import SWEEP_S
from tests.container.machine import Failed
from tests.container.service import DROP_INS, UNIT, Service
from tests.kit.gates import Download
from tests.kit.load import Tally, answer, load
from tests.kit.node import Caller, until
from tests.kit.origin import Origin

QUEUED = 40

TRY = """
import errno, json, os, sys

def tried(act):
    try:
        act()
    except OSError as why:
        return errno.errorcode[why.errno]
    return "done"

said = json.dumps({
    "sched_setaffinity": tried(lambda: os.sched_setaffinity(0, os.sched_getaffinity(0))),
    "setpriority": tried(lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))),
})
if sys.argv[1:]:
    print(said)
else:
    with open("/run/edge/tried", "w") as file:
        file.write(said)
"""


@asynccontextmanager
async def in_use(service: Service, **pages: object) -> AsyncIterator[Tally]:
    """Serve the origin, and keep the service busy for the block; nothing may have failed at its end."""
    async with at_work(service, **pages), load(service.node) as tally:
        await tally.more()
        await service.is_state("active")  # the first worker that is ready does not wait for the last
        yield tally
        await tally.more()
    tally.assert_clean()


@asynccontextmanager
async def at_work(service: Service, **pages: object) -> AsyncIterator[None]:
    """Serve the origin for the block."""
    async with trio.open_nursery() as nursery:
        origin = Origin({b"*": answer, **{f"/{name}".encode(): page for name, page in pages.items()}}, port=8001)
        await nursery.start(origin.serve)
        try:
            yield
        finally:
            service.node.reap()
            nursery.cancel_scope.cancel()


async def test_the_first_connection_starts_the_service(service):
    async with at_work(service):
        before = await service.show("ActiveState")
        caller = await service.node.client()
        reply = await caller.get("/kept/1")
        await service.is_state("active")
        status = await service.show("StatusText")

    assert (before, reply.status) == ("inactive", 200)
    assert re.fullmatch(r"generation 1: (\d+) of \1 workers ready", status)


async def test_plain_http_has_a_socket_of_its_own(service):
    async with await trio.open_tcp_stream("127.0.0.1", 80) as stream:
        await stream.send_all(b"GET /a?b HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        reply = await stream.receive_some(4096)

    assert reply.startswith(b"HTTP/1.1 308 ")
    assert b"\r\nlocation: https://shop.example/a?b\r\n" in reply


async def test_ipv6_comes_in_by_the_same_socket(service):
    async with at_work(service), await trio.open_tcp_stream("::1", 80) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")

        assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 308 ")


@pytest.mark.parametrize("drop_in", [None, "own-ports.conf", "credentials.conf"])
async def test_exposure_is_at_most_two(service, drop_in):
    if drop_in:
        service.drop_in(drop_in)
    said = await service.do("systemd-analyze", "security", "--no-pager", "--threshold=20", UNIT)
    print(said.splitlines()[-1])

    assert float(re.search(r"Overall exposure level for edge\.service: ([\d.]+)", said)[1]) <= 2.0


async def test_it_is_nobody_and_may_nothing(service):
    async with in_use(service):
        processes = [await service.main_pid(), *service.workers()]
        statuses = [(service.machine.path(f"/proc/{pid}/status")).read_text() for pid in processes]
        uid = (await service.do("id", "-u", "edge")).strip()

    assert len(statuses) >= 2
    for status in statuses:
        assert re.search(rf"^Uid:\t{uid}\t{uid}\t{uid}\t{uid}$", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)


async def test_what_is_not_its_own_is_read_only_for_it(service):
    """By its mounts, and tried: from in there not even root can write."""
    async with in_use(service):
        processes = [await service.main_pid(), *service.workers()]
        mounts = [service.machine.path(f"/proc/{pid}/mountinfo").read_text() for pid in processes]
        tried = {}
        for path in ("/", "/usr/bin", "/etc", "/etc/edge", "/opt/edge", "/var/lib", "/var/cache/edge"):
            try:
                await service.do("nsenter", f"--target={processes[-1]}", "--mount", "touch", f"{path}/made")
                tried[path] = "written"
            except Failed as why:
                tried[path] = str(why).rpartition(": ")[2]

    refused = "Read-only file system"
    read_only = ["/", "/usr/bin", "/etc", "/etc/edge", "/opt/edge", "/var/lib"]
    assert dict.fromkeys(read_only, refused) | {"/var/cache/edge": "written"} == tried
    assert len(mounts) >= 2
    for said in mounts:
        for path in (*read_only, "/usr", "/sys", "/proc/sys"):
            assert "ro" in mount_options(said, path), (path, said)
        for path in ("/var/cache/edge", "/var/log/edge", "/run/edge", "/tmp"):
            assert "rw" in mount_options(said, path), (path, said)


async def test_what_it_does_not_need_the_kernel_does_not_do_for_it(service):
    """Asked from where the service is: what anybody else may do to himself, and what the keeper needs."""
    service.machine.path("/etc/edge/try.py").write_text(TRY)
    drop_in = service.machine.path(f"{DROP_INS}/try.conf")
    drop_in.parent.mkdir(parents=True, exist_ok=True)
    drop_in.write_text("[Service]\nExecStartPre=/opt/edge/bin/python /etc/edge/try.py\n")
    await service.do("systemctl", "daemon-reload")
    async with in_use(service):
        tried = json.loads(service.machine.path("/run/edge/tried").read_text())

    assert {"sched_setaffinity": "EPERM", "setpriority": "done"} == tried
    own = json.loads(await service.do("python3", "/etc/edge/try.py", "-"))
    assert {"sched_setaffinity": "done", "setpriority": "done"} == own


async def test_a_certificate_reload_is_over_when_reload_returns_and_costs_nothing(service):
    async with in_use(service) as tally:
        kept = await service.node.client()
        await kept.get("/kept/1")
        workers, cursor = service.workers(), await service.cursor()
        service.certify()
        await service.do("systemctl", "reload", UNIT)
        serials = {(await service.node.client()).tls.getpeercert()["serialNumber"] for _ in range(8)}
        await kept.get("/kept/1")
        await tally.more()

        assert serial(kept) not in serials
        assert len(serials) == 1
        assert workers == service.workers()
        said = await service.journal(cursor)
    assert tally.farewells == 0
    assert tally.retried == 0
    main = await service.main_pid()
    assert re.search(rf"Got notification message from PID {main} \(RELOADING=1, MONOTONIC_USEC=\d+\)", said)
    assert "Changed running -> reload" in said
    assert "Changed reload -> running" in said


async def test_a_configuration_reload_is_over_when_reload_returns_and_fails_nobody(service):
    async with in_use(service) as tally:
        old, main = service.workers(), await service.main_pid()
        service.configure(("[server]", "[server]\nworkers = 3"))
        await service.do("systemctl", "reload", UNIT)
        status, workers = await service.show("StatusText"), service.workers()
        await tally.more()
        await until(lambda: not {*old} & {*service.workers()})

        assert main == await service.main_pid()
    assert status.startswith("generation 2: 3 of 3 workers ready")
    assert len({*workers} - {*old}) == 3


async def test_a_reload_of_an_invalid_configuration_fails_and_changes_nothing(service):
    async with in_use(service) as tally:
        workers, cursor = service.workers(), await service.cursor()
        service.configure(("[server]", "[server]\nworkrs = 2"))
        with pytest.raises(Failed):
            await service.do("systemctl", "reload", UNIT)
        said = await service.journal(cursor)
        await service.do("systemctl", "kill", "--kill-whom=main", "--signal=HUP", UNIT)
        await until_async(lambda: service.show("StatusText"), lambda status: "refused" in status)
        status = await service.show("StatusText")
        await tally.more()

        assert workers == service.workers()
        assert await service.show("ActiveState") == "active"
    assert re.search(r"edge\.toml:\d+:1: .*workrs.*workers", said)
    assert re.search(r"reload refused: .*edge\.toml:\d+:1: .*workrs", status)


async def test_a_restart_fails_nobody_and_who_comes_meanwhile_waits_in_the_socket(service):
    download = Download()
    async with in_use(service, download=download), trio.open_nursery() as nursery:
        main = await service.main_pid()
        downloader = await service.node.client()
        replies: list = []
        nursery.start_soon(put_reply, replies, downloader, "/download")
        await download.begun.wait()

        nursery.start_soon(service.do, "systemctl", "restart", UNIT)
        await service.is_state("deactivating")
        await until_async(service.journal, lambda said: "finish what they carry" in said)
        for _ in range(QUEUED):
            nursery.start_soon(put_reply, replies, None, "/kept/1", service)
        await until(lambda: in_queue(443) >= QUEUED)
        answered_meanwhile = len(replies)
        download.go_on.set()
        await until(lambda: len(replies) == QUEUED + 1)
        await service.is_state("active")

        assert answered_meanwhile == 0
        assert main != await service.main_pid()
    assert [200] * (QUEUED + 1) == [reply.status for reply in replies]
    assert download.body in [reply.body for reply in replies]


async def test_many_restarts_in_a_row_lose_nothing(service):
    async with in_use(service) as tally:
        for _ in range(3):
            await service.do("systemctl", "restart", UNIT)
            await tally.more(100)


async def test_a_new_program_takes_over_and_systemd_follows(service):
    async with in_use(service) as tally:
        main, old = await service.main_pid(), service.workers()
        await service.do("systemctl", "kill", "--kill-whom=main", "--signal=USR2", UNIT)
        await until_async(service.main_pid, lambda pid: pid != main)
        await tally.more()
        await until(lambda: not {*old} & {*service.workers()})
        service.certify()
        await service.do("systemctl", "reload", UNIT)
        await tally.more()

        assert await service.show("ActiveState") == "active"
        assert await service.show("NRestarts") == "0"
        assert (await service.show("StatusText")).startswith("generation 2: ")


async def test_a_killed_master_is_started_again_and_nobody_is_refused(service):
    """What was carried is lost; who comes from then on is not."""
    async with at_work(service):
        await (await service.node.client()).get("/kept/1")
        main, old = await service.main_pid(), service.workers()
        await service.do("sh", "-c", f"kill -9 {main}")
        await until(lambda: not {*old} & {*service.workers()})
        replies = [await (await service.node.client()).get("/kept/1") for _ in range(5)]

        assert [200] * 5 == [reply.status for reply in replies]
        assert await service.show("NRestarts") == "1"
        assert main != await service.main_pid()
        assert not {*old} & {*service.workers()}


async def test_a_killed_worker_is_not_the_services_business(service):
    async with at_work(service):
        await (await service.node.client()).get("/kept/1")
        main, [first, *_] = await service.main_pid(), service.workers()
        await service.do("sh", "-c", f"kill -9 {first}")
        replies = [await (await service.node.client()).get("/kept/1") for _ in range(5)]
        await until(lambda: first not in service.workers() and len(service.workers()) > 0)

        assert [200] * 5 == [reply.status for reply in replies]
        assert main == await service.main_pid()
        assert await service.show("NRestarts") == "0"


async def test_a_stop_finishes_what_is_carried_and_then_refuses(service):
    download = Download()
    async with at_work(service, download=download), trio.open_nursery() as nursery:
        replies: list = []
        nursery.start_soon(put_reply, replies, await service.node.client(), "/download")
        await download.begun.wait()
        nursery.start_soon(service.do, "systemctl", "stop", UNIT, "edge.socket", "edge-http.socket")
        await service.is_state("deactivating")
        status = await service.show("StatusText")
        download.go_on.set()
        await service.is_state("inactive")
        with pytest.raises(OSError, match="attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", 443)

        assert await service.show("Result") == "success"
    assert "stopping: " in status
    assert [download.body] == [reply.body for reply in replies]


async def test_the_cache_survives_a_restart(service):
    async with at_work(service):
        await (await service.node.client()).get("/kept/1")
        await service.do("systemctl", "restart", UNIT)
        reply = await (await service.node.client()).get("/kept/1")

    assert reply.get(b"cache-status").startswith(b"edge; hit")


async def test_what_lands_slowly_is_shared_and_kept(service):
    """Nobody can look at anybody (ProtectProc=invisible): whoever brings a body must not be taken for dead."""
    download = Download(cache_control="max-age=3600")
    async with at_work(service, download=download), trio.open_nursery() as nursery:
        replies: list = []
        nursery.start_soon(put_reply, replies, None, "/download", service)
        await download.begun.wait()
        await trio.sleep(2.5 * SWEEP_S)
        for _ in range(4):
            nursery.start_soon(put_reply, replies, None, "/download", service)
        await until_async(service.node.metrics, lambda metrics: sum_of(metrics, "edge_flights_joined_total") == 4)
        download.go_on.set()
        await until(lambda: len(replies) == 5)
        hit = await (await service.node.client()).get("/download")

    assert [download.body] * 5 == [reply.body for reply in replies]
    assert hit.get(b"cache-status").startswith(b"edge; hit")
    assert download.times == 1


async def test_a_configuration_that_cannot_start_keeps_its_callers_until_it_is_mended(service):
    async with at_work(service), trio.open_nursery() as nursery:
        service.configure(("[server]", "[server]\nworkrs = 2"))
        replies: list = []
        nursery.start_soon(put_reply, replies, None, "/kept/1", service)
        await until_async(lambda: service.show("NRestarts"), lambda count: int(count) >= 2)
        waiting = len(replies)
        socket = await service.do("systemctl", "is-active", "edge.socket")
        service.configure()
        await until(lambda: len(replies) == 1)

    assert (waiting, socket) == (0, "active")
    assert [200] == [reply.status for reply in replies]


async def test_keys_come_as_credentials(service):
    service.drop_in("credentials.conf")
    service.configure(
        ("certs/shop/fullchain.pem", "/run/credentials/edge.service/shop.pem"),
        ("certs/shop/privkey.pem", "/run/credentials/edge.service/shop.key"),
    )
    await service.do("chown", "-R", "root:root", "/etc/edge/certs")
    await service.do("chmod", "-R", "go=", "/etc/edge/certs")
    async with in_use(service) as tally:
        old = serial(await service.node.client())
        service.node.authority.issue(["shop.example"]).write(service.machine.path("/etc/edge/certs/shop"))
        await service.do("systemctl", "reload", UNIT)
        after_reload = serial(await service.node.client())
        await tally.more()

    assert old != after_reload


async def test_the_master_can_open_the_ports_itself(service):
    await service.do("systemctl", "stop", "edge.socket", "edge-http.socket")
    service.drop_in("own-ports.conf")
    service.configure(("systemd:https", "0.0.0.0:443"), ("systemd:http", "0.0.0.0:80"))
    await service.do("systemctl", "start", UNIT)
    async with in_use(service) as tally:
        service.certify()
        await service.do("systemctl", "reload", UNIT)
        statuses = [service.machine.path(f"/proc/{pid}/status").read_text() for pid in service.workers()]
        await tally.more()

    assert all(re.search(r"^CapEff:\t0+$", status, re.MULTILINE) for status in statuses)


async def test_a_master_that_is_root_reads_what_nobody_else_may(service):
    service.drop_in("root-master.conf")
    service.configure(("[server]", '[server]\nuser = "edge"'))
    await service.do("chown", "-R", "root:root", "/etc/edge/certs")
    await service.do("chmod", "-R", "go=", "/etc/edge/certs")
    async with in_use(service) as tally:
        before = serial(await service.node.client())
        service.node.authority.issue(["shop.example"]).write(service.machine.path("/etc/edge/certs/shop"))
        await service.do("systemctl", "reload", UNIT)
        after = serial(await service.node.client())
        await tally.more()
        statuses = [service.machine.path(f"/proc/{pid}/status").read_text() for pid in service.workers()]

    assert before != after
    assert all(re.search(r"^Uid:\t(?!0\t)", status, re.MULTILINE) for status in statuses)


def sum_of(metrics: dict[str, float], name: str) -> float:
    return sum(value for series, value in metrics.items() if series.startswith(name))


def mount_options(mountinfo: str, path: str) -> list[str]:
    """What holds for *path*: the options of the mount that it lies on (proc_pid_mountinfo(5): fields 5 and 6; the later covers)."""
    mounts = [line.split()[4:6] for line in mountinfo.splitlines()]
    covering = [(point, said) for point, said in mounts if f"{path}/".startswith(f"{point.rstrip('/')}/")]
    longest = max(len(point) for point, _ in covering)
    return [said for point, said in covering if len(point) == longest][-1].split(",")


def serial(caller: Caller) -> str:
    return caller.tls.getpeercert()["serialNumber"]


async def put_reply(replies: list, caller: Caller | None, path: str, service: Service | None = None) -> None:
    if caller is None:
        assert service is not None
        caller = await service.node.client()
    replies.append(await caller.get(path))


async def until_async(ask: Callable[[], Awaitable], is_right: Callable[..., bool]) -> None:
    with trio.fail_after(30):
        while not is_right(await ask()):
            await trio.sleep(0.05)


def in_queue(port: int) -> int:
    """How many connections nobody has accepted yet."""
    for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]:
        _, local, _, state, queues, *_ = line.split()
        if state == "0A" and int(local.rpartition(":")[2], 16) == port:  # LISTEN
            return int(queues.partition(":")[2], 16)
    return 0
