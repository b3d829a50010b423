"""A house with real processes: births, deaths, reloads, and what systemd hears of them."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from edge.master.loop import SAME_S
from edge.tls.selfsigned import Authority

from .conftest import Running

IS_ROOT = os.geteuid() == 0


# Birth.


def test_systemd_hears_that_we_are_ready_when_every_worker_is(edge):
    edge.start()

    assert "STATUS=generation 1: 2 of 2 workers ready" == edge.status("2 of 2")
    assert edge.told("READY=1")
    assert sorted(edge.who().values()) == [0, 1]
    assert (edge.directory / "edge.pid").read_text() == f"{edge.main_pid}\n"


def test_a_worker_has_what_its_heritage_names_and_nothing_else(edge):
    edge.start().ready()
    fds = edge.ask("fds").split()
    bells = [fd for fd in fds if "eventfd" in fd]
    pages = [fd for fd in fds if fd.startswith("/memfd:")]

    assert len(bells) == 64
    assert sorted(pages) == ["/memfd:edge-fleet", "/memfd:edge-notices"], (
        "records are locked in these; others are mapped"
    )
    besides = len(fds) - len(bells) - len(pages)
    assert besides <= 3 + 1 + 1 + 1 + 1 + 1, "standard three, channel, queue, log, this client, the listing itself"


@pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")
def test_workers_are_nobody_and_the_keeper_too(edge):
    for directory in (edge.directory, *edge.directory.parents[:2]):
        directory.chmod(0o755)
    edge.configure(more='[cache]\npath = "cache"\n')
    edge.config.write_text(edge.config.read_text().replace("[server]", '[server]\nuser = "daemon"'))
    edge.start().ready()
    uid = edge.ask("who").split()[4]

    assert uid != "0"
    assert (edge.directory / "cache").stat().st_uid == int(uid)
    edge.hear("keeper ")


def test_the_keeper_is_nice_and_replaced(edge):
    edge.configure(more='[cache]\npath = "cache"\n')
    edge.start().ready()
    nice = f"nice {min(os.nice(0) + 10, 19)}"
    said = edge.hear(nice)
    pid = int(said.split("keeper ")[1].split()[0])
    os.kill(pid, signal.SIGKILL)
    edge.hear(f"keeper (pid {pid}, ")
    edge.said = ""

    assert "keeper " in edge.hear(nice)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "why"), [("fail-boot", "the roof leaks"), ("crash-boot", "RuntimeError: the floor gives way")]
)
def test_a_house_nobody_can_be_born_in_ends_with_a_sentence(edge, fault, why):
    edge.fault(fault)
    edge.start()
    said = edge.hear("stopped")

    assert edge.ended() == 1
    assert f"died 4 times before it was ready; the last time: {why}" in said
    assert not (edge.directory / "edge.pid").exists()
    assert why in edge.status("giving up")


@pytest.mark.slow
def test_a_worker_that_hangs_at_birth_is_struck(edge):
    edge.fault("hang-boot")
    edge.start()
    said = edge.hear("giving up")

    assert "was not ready in time: SIGABRT" in said
    assert edge.ended() == 1


def test_a_port_in_use_is_a_sentence(edge):
    with socket.create_server(("127.0.0.1", edge.port)):
        edge.start()

        assert edge.ended() == 1
    assert f"cannot listen on 127.0.0.1:{edge.port}: Address already in use" in edge.hear("another program")


def test_an_invalid_configuration_is_every_problem_with_its_place(edge):
    edge.config.write_text("[server]\nworkerz = 2\ndrian = 3\n")
    edge.start()
    said = edge.hear("drian")

    assert edge.ended() == 1
    assert "edge.toml:2:1: [server] has no setting 'workerz'" in said
    assert "edge.toml:3:1: " in said


def test_sockets_of_systemd_are_found_by_name(edge):
    edge.configure(listener='address = "systemd:web"')
    with socket.create_server(("127.0.0.1", edge.port)) as sock:
        service_manager = (
            f"import os, sys; os.dup2({sock.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
            f"os.execv(sys.executable, [sys.executable, '-W', 'error', '-m', 'tests.master.dummy', '{edge.config}'])"
        )
        edge.start(
            [sys.executable, "-c", service_manager],
            env={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"},
            pass_fds=[sock.fileno()],
        )
        edge.ready()

        assert edge.ask("who")


# Death.


def test_a_killed_worker_is_replaced_at_once(edge):
    edge.start().ready()
    before = edge.who()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    edge.status("2 of 2 workers ready")
    after = edge.who()

    assert sorted(after.values()) == [0, 1]
    assert victim not in after
    assert f"(pid {victim}, generation 1, slot {before[victim]}) died after" in edge.hear("ready: SIGKILL")


def test_a_hung_worker_says_where_and_is_replaced(edge):
    edge.fault("deadline")
    edge.start().ready()
    client = edge.send("hang")
    said = edge.hear("doomed: SIGABRT")

    assert "hung: SIGABRT" in said
    assert "in answer" in said, "the place in the code where it hung"
    edge.status("2 of 2 workers ready")
    client.close()


def test_a_worker_that_leaves_unasked_is_replaced(edge):
    edge.start().ready()
    edge.ask("exit 0")
    edge.status("2 of 2 workers ready")

    assert "died after" in edge.hear("ready: exit 0")


@pytest.mark.slow
def test_a_crash_loop_backs_off_and_says_so_and_nobody_waits_for_it(edge):
    """While one place is in back-off, the other answers everybody, also who was waiting for the first."""
    edge.start().ready()
    edge.fault("crash-boot")
    os.kill(min(edge.who()), signal.SIGKILL)
    edge.hear("keeps dying: the next one starts in 1s")
    answers = [edge.ask("who") for _ in range(20)]

    assert len(answers) == 20
    assert "keeps dying and is waited for: worker" in edge.status("keeps dying")
    edge.mend("crash-boot")
    edge.status("2 of 2 workers ready")


@pytest.mark.slow
def test_who_waited_for_a_worker_that_does_not_come_back_is_served_by_another(edge):
    edge.start().ready()
    victim = min(edge.who())
    edge.fault("crash-boot")
    os.kill(victim, signal.SIGSTOP)
    waiting = [edge.send("who") for _ in range(12)]
    os.kill(victim, signal.SIGKILL)
    answers = [edge.answer(client) for client in waiting]

    assert all(answers)
    assert any(answer.startswith("taken ") for answer in answers)
    assert "were handed to others" in edge.hear("handed to others")
    for client in waiting:
        client.close()


@pytest.mark.slow
def test_workers_leave_when_their_master_is_killed(edge):
    edge.start().ready()
    workers = edge.who()
    held = edge.send("hold")
    edge.signal(signal.SIGKILL)
    edge.ended()

    assert edge.answer(held) == "held"
    held.close()
    for pid in workers:
        edge.hear(f"worker {pid} heard GONE")


# Leaving.


def test_a_stop_lets_everybody_finish(edge):
    edge.start().ready()
    held = [edge.send("hold") for _ in range(4)]
    edge.ask("who")
    edge.signal(signal.SIGTERM)

    assert edge.told("STOPPING=1")
    assert [edge.answer(client) for client in held] == ["held"] * 4
    assert edge.ended() == 0
    assert not (edge.directory / "edge.pid").exists()
    for client in held:
        client.close()


def test_nobody_new_is_let_in_after_a_stop(edge):
    edge.start().ready()
    edge.signal(signal.SIGINT)
    edge.told("STOPPING=1")
    edge.ended()

    with pytest.raises(ConnectionRefusedError):
        edge.ask("who")


def test_a_second_stop_is_at_once(edge):
    edge.configure(drain="60s")
    edge.start().ready()
    while len(edge.who(1)) and edge.ask("keeps") != "yes":
        pass
    edge.signal(signal.SIGTERM)
    edge.told("STOPPING=1")
    time.sleep(SAME_S)  # or it would be the same one
    edge.signal(signal.SIGTERM)

    assert edge.ended() == 0
    assert "stopped at once: SIGKILL" in edge.hear("stopped at once")


@pytest.mark.slow
def test_who_does_not_finish_in_time_is_killed(edge, monkeypatch):
    edge.configure(workers=1, drain="0s")
    edge.start().ready()
    edge.ask("keeps")
    edge.signal(signal.SIGTERM)

    assert "did not finish in time: SIGKILL" in edge.hear("did not finish")
    assert edge.ended() == 0


# More and fewer.


def test_ttin_and_ttou_change_the_number_of_workers(edge):
    edge.start().ready()
    edge.signal(signal.SIGTTIN)
    edge.status("3 of 3 workers ready")
    assert sorted(edge.who(40).values()) == [0, 1, 2]

    edge.signal(signal.SIGTTOU)
    edge.status("2 of 2 workers ready")
    assert sorted(edge.who(40).values()) == [0, 1]


def test_the_last_worker_stays(edge):
    edge.configure(workers=1)
    edge.start().ready()
    edge.signal(signal.SIGTTOU)

    assert "still 1 workers" in edge.hear("there can be 1 to")
    assert edge.ask("who")


class Visitors:
    """Clients that never stop asking; every one of them must be answered."""

    def __init__(self, edge):
        self.edge = edge
        self.answers = []
        self.failures = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._visit) for _ in range(3)]

    def _visit(self):
        while not self._is_over.is_set():
            try:
                self.answers.append(self.edge.ask("who"))
            except OSError as error:
                self.failures.append(error)
            else:
                if not self.answers[-1]:
                    self.failures.append("closed without an answer")

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.slow
def test_no_visitor_is_lost_when_a_place_is_given_up(edge):
    edge.configure(workers=3)
    edge.start().ready()
    with Visitors(edge) as visitors:
        for _ in range(2):
            edge.signal(signal.SIGTTOU)
            edge.status("workers ready")
        edge.status("1 of 1 workers ready")
        seen = len(visitors.answers)
        while len(visitors.answers) < seen + 2000 and not visitors.failures:
            visitors._is_over.wait(0.05)

    assert visitors.failures == []


# Reloading.


@pytest.mark.slow
def test_no_visitor_is_lost_in_a_reload(edge):
    edge.start().ready()
    before = set(edge.who())
    with Visitors(edge) as visitors:
        for drain in ("3s", "4s"):
            edge.configure(drain=drain)
            edge.signal(signal.SIGHUP)
            edge.told("RELOADING=1")
            edge.told("READY=1")
            edge.hear("left after")

    assert visitors.failures == []
    assert len(visitors.answers) > 50
    assert edge.generations() == {3}
    assert not before & set(edge.who())


def test_who_is_carried_during_a_reload_is_carried_to_the_end(edge):
    edge.start().ready()
    held = [edge.send("hold") for _ in range(4)]
    edge.ask("who")
    edge.configure(drain="3s")
    edge.signal(signal.SIGHUP)

    assert [edge.answer(client) for client in held] == ["held"] * 4
    for client in held:
        client.close()


def test_a_reload_tells_systemd_when_it_began_and_ended(edge):
    edge.start().ready()
    edge.configure(drain="3s")
    edge.signal(signal.SIGHUP)
    began = edge.told("RELOADING=1")

    assert "MONOTONIC_USEC=" in began
    assert edge.told("READY=1", "STATUS=generation 2: 2 of 2")
    assert edge.told("READY=1")


def test_a_reload_without_a_change_renews_nobody(edge):
    edge.start().ready()
    before = edge.who()
    edge.signal(signal.SIGHUP)
    edge.told("RELOADING=1")
    edge.told("READY=1")

    assert edge.who() == before


def test_an_invalid_reload_changes_nothing_and_says_why(edge):
    edge.start().ready()
    before = edge.who()
    edge.config.write_text(edge.config.read_text().replace("drain", "drian"))
    edge.signal(signal.SIGHUP)

    assert "reload refused" in (words := edge.status("refused"))
    assert "edge.toml:3:1:" in words
    assert edge.told("READY=1")
    assert edge.who() == before


def test_what_was_wrong_with_a_reload_is_not_said_of_the_next(edge):
    edge.start().ready()
    good = edge.config.read_text()
    edge.config.write_text(good.replace("drain", "drian"))
    edge.signal(signal.SIGHUP)
    edge.status("refused")
    edge.told("READY=1")
    edge.config.write_text(good.replace('"2s"', '"3s"'))
    edge.signal(signal.SIGHUP)
    edge.told("RELOADING=1")

    while (words := edge.told("STATUS=", "READY=1")) != "READY=1":
        assert "refused" not in words


def test_what_is_doubtful_about_a_refused_configuration_is_no_error(edge):
    edge.start().ready()
    alike = '[[route]]\norigin = "a"\nheaders = { a = "1" }\n[[route]]\norigin = "a"\nheaders = { b = "1" }\n'
    edge.configure(more=alike + "xyzzy = 1\n")
    edge.signal(signal.SIGHUP)
    status = edge.status("refused")
    said = edge.hear("reload refused, nothing changed").splitlines()

    assert "xyzzy" in status
    assert ["xyzzy" in line for line in said if "reload refused" in line] == [True]
    assert [" warning master[" in line for line in said if "a request may match this" in line] == [True]


def test_a_pid_file_that_moves_is_said(edge):
    edge.start().ready()
    edge.config.write_text(edge.config.read_text().replace("edge.pid", "other.pid"))
    edge.signal(signal.SIGHUP)

    edge.hear(f"reloaded: nothing but the pid file, {edge.directory / 'other.pid'}")
    assert (edge.directory / "other.pid").read_text() == f"{edge.main_pid}\n"
    assert not (edge.directory / "edge.pid").exists()


def test_a_pid_file_that_names_another_master_is_said(edge, tmp_path):
    edge.start().ready()
    (tmp_path / "other").mkdir()
    other = Running(tmp_path / "other")
    other.config.write_text(other.config.read_text().replace("edge.pid", str(edge.directory / "edge.pid")))
    try:
        other.start().ready()
        other.hear(f"named another master (pid {edge.main_pid}), which runs")
    finally:
        other.close()
    assert "named another" not in edge.said


@pytest.mark.slow
def test_a_generation_that_cannot_start_is_given_up_and_the_old_one_goes_on(edge):
    edge.start().ready()
    before = edge.who()
    edge.fault("fail-boot")
    edge.configure(drain="3s")
    edge.signal(signal.SIGHUP)
    words = edge.status("reload failed")

    assert "the last time: the roof leaks" in words
    assert edge.told("READY=1")
    assert edge.who() == before
    edge.mend("fail-boot")
    edge.signal(signal.SIGHUP)
    edge.told("RELOADING=1")
    edge.told("READY=1")
    for pid in before:
        edge.hear(f"(pid {pid}, ")
    assert edge.generations() == {3}, "the number of the one given up is not used again"


def test_a_reload_opens_new_listeners_and_closes_old_ones(edge):
    edge.start().ready()
    old, edge.port = edge.port, 0
    with socket.create_server(("127.0.0.1", 0)) as sock:
        edge.port = sock.getsockname()[1]
    edge.configure()
    edge.signal(signal.SIGHUP)
    edge.told("RELOADING=1")
    edge.told("READY=1")
    assert edge.generations() == {2}

    edge.hear("left after")
    edge.said = edge.said.replace("left after", "", 1)
    edge.hear("left after")
    with pytest.raises(ConnectionRefusedError):
        edge.ask("who", old)


def test_a_listener_that_cannot_be_opened_refuses_the_reload(edge):
    edge.start().ready()
    before = edge.who()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f'address = "127.0.0.1:{edge.port}"\n[[listener]]\naddress = "127.0.0.1:{taken.getsockname()[1]}"'
        edge.configure(listener=address)
        edge.signal(signal.SIGHUP)

        assert "cannot listen on" in edge.status("refused")
    assert edge.who() == before


def test_more_workers_than_there_is_room_for_are_refused(edge):
    edge.start().ready()
    before = edge.who()
    edge.configure(workers=500)
    edge.signal(signal.SIGHUP)

    assert "500 workers are more than the 19" in edge.status("refused")
    assert edge.who() == before


def test_a_smaller_configuration_gives_up_places(edge):
    edge.configure(workers=3)
    edge.start().ready()
    edge.configure(workers=1)
    edge.signal(signal.SIGHUP)
    edge.status("generation 2: 1 of 1 workers ready")

    assert set(edge.who().values()) == {0}


# Logs.


def test_reopened_logs_reach_every_worker(edge):
    edge.configure(more='[log]\naccess = "access.log"\nerrors = "errors.log"\n')
    edge.start().ready()
    workers = set(edge.who())
    for name in ("access.log", "errors.log"):
        (edge.directory / name).rename(edge.directory / f"{name}.1")
    edge.signal(signal.SIGUSR1)
    edge.signal(signal.SIGTERM)
    edge.ended()
    access = (edge.directory / "access.log").read_text()

    assert {int(line.split()[2].rstrip(":")) for line in access.splitlines()} == workers
    assert "logs reopened" in (edge.directory / "errors.log").read_text()
    assert "generation 1 is complete" in (edge.directory / "errors.log.1").read_text()


# Certificates.


@pytest.fixture
def renew(edge):
    """Write a certificate that is valid for so many days where the configuration looks for it."""
    authority = Authority("tests", days=400)

    def write(days):
        authority.issue(["edge.test"], days=days).write(edge.directory / "certs")

    write(10)
    edge.configure(
        listener=f'address = "127.0.0.1:{edge.port}"\ntls = true',
        more='[[certificate]]\nchain = "certs/fullchain.pem"\nkey = "certs/privkey.pem"\n',
    )
    return write


def _days_left(edge):
    """Until when the workers' certificates are valid, each once."""
    return {edge.ask("certs").partition("=")[2] for _ in range(12)}


def test_new_certificates_restart_no_worker(edge, renew):
    edge.start().ready()
    before, old = edge.who(), _days_left(edge)
    held = edge.send("hold")
    renew(90)
    edge.signal(signal.SIGHUP)
    edge.told("RELOADING=1")
    edge.told("READY=1")

    assert edge.who() == before
    assert len(old) == len(_days_left(edge)) == 1
    assert old != _days_left(edge)
    edge.signal(signal.SIGTERM)
    assert edge.answer(held) == "held"
    held.close()


def test_a_worker_born_after_a_renewal_has_the_new_certificates(edge, renew):
    edge.start().ready()
    renew(90)
    edge.signal(signal.SIGHUP)
    edge.told("RELOADING=1")
    edge.told("READY=1")
    os.kill(min(edge.who()), signal.SIGKILL)
    edge.status("1 of 2 workers ready")
    edge.status("2 of 2 workers ready")

    assert len(_days_left(edge)) == 1


def test_a_broken_certificate_refuses_the_reload(edge, renew):
    edge.start().ready()
    old = _days_left(edge)
    (edge.directory / "certs" / "privkey.pem").write_text("nonsense")
    edge.signal(signal.SIGHUP)

    assert "privkey.pem" in edge.status("reload refused")
    assert _days_left(edge) == old


def test_workers_that_cannot_take_new_certificates_are_renewed(edge, renew):
    edge.start().ready()
    old = _days_left(edge)
    edge.fault("refuse-certs")
    renew(90)
    edge.signal(signal.SIGHUP)
    edge.status("generation 2: 2 of 2 workers ready")
    edge.told("READY=1")
    for _ in range(2):
        edge.hear("left after")
        edge.said = edge.said.replace("left after", "", 1)

    assert edge.generations() == {2}
    assert _days_left(edge) != old
    assert "cannot use the new certificates" in edge.said


# Another program.


def _hand_over(edge):
    edge.signal(signal.SIGUSR2)
    edge.main_pid = int(edge.told("MAINPID=").partition("=")[2])


@pytest.mark.slow
def test_no_visitor_is_lost_when_the_program_is_replaced(edge):
    edge.start().ready()
    before = set(edge.who())
    old = edge.main_pid
    with Visitors(edge) as visitors:
        _hand_over(edge)
        edge.told("READY=1")
        code = edge.ended()

    assert visitors.failures == []
    assert code == 0
    assert edge.main_pid != old
    assert (edge.directory / "edge.pid").read_text() == f"{edge.main_pid}\n"
    assert edge.generations() == {2}
    assert not before & set(edge.who())


@pytest.mark.slow
def test_a_replaced_program_can_be_replaced_again(edge):
    edge.start().ready()
    for generation in (2, 3):
        workers = edge.who()
        _hand_over(edge)
        edge.told("READY=1")
        for pid in workers:
            edge.hear(f"(pid {pid}, ")
        assert edge.generations() == {generation}


@pytest.mark.slow
def test_a_new_program_that_does_not_start_changes_nothing(edge):
    edge.start().ready()
    before = edge.who()
    good = edge.config.read_text()
    edge.config.write_text("nonsense")
    edge.signal(signal.SIGUSR2)

    assert "upgrade failed: the new program ended before it was ready (exit 1)" in edge.status("upgrade failed")
    assert edge.who() == before
    edge.config.write_text(good)
    _hand_over(edge)
    edge.told("READY=1")
    for pid in before:
        edge.hear(f"(pid {pid}, ")
    assert not set(before) & set(edge.who())


@pytest.mark.slow
def test_a_reload_while_a_new_program_starts_waits_until_that_has_failed(edge):
    """systemd waits for the end of every reload it has asked for."""
    edge.start().ready()
    edge.fault("hang-boot")
    edge.signal(signal.SIGUSR2)
    said = edge.hear("started the new program (pid ")
    edge.hear(")")
    edge.configure(drain="3s")
    edge.signal(signal.SIGHUP)
    edge.hear("SIGHUP waits")
    edge.mend("hang-boot")
    os.kill(int(said.partition("started the new program (pid ")[2].partition(")")[0]), signal.SIGTERM)
    edge.told("RELOADING=1")
    edge.told("READY=1")
    edge.hear("left after")

    assert edge.generations() == {2}


@pytest.mark.slow
def test_a_reload_while_a_new_program_starts_is_done_by_that_if_it_takes_over(edge):
    """It may have read the configuration before the change that it was told of."""
    edge.start().ready()
    edge.signal(signal.SIGUSR2)
    edge.hear("started the new program")
    edge.signal(signal.SIGHUP)
    edge.hear("SIGHUP waits")
    edge.main_pid = int(edge.told("MAINPID=").partition("=")[2])
    edge.told("READY=1")
    edge.told("RELOADING=1")
    edge.told("READY=1")

    edge.hear("reloaded: nothing has changed")


@pytest.mark.slow
def test_a_stop_while_a_new_program_starts_ends_both(edge):
    edge.start().ready()
    edge.fault("hang-boot")
    edge.signal(signal.SIGUSR2)
    edge.hear("started the new program")
    edge.signal(signal.SIGTERM)

    assert edge.ended() == 0
    edge.hear("stopped")


def test_the_command_knows_the_master():
    """``edge run`` ends in edge.master.run."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, edge.cli; sys.exit(edge.cli.main())",
            "run",
            "-c",
            "/nonexistent/edge.toml",
        ],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 1
    assert b"/nonexistent/edge.toml" in done.stderr
