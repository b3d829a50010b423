"""
A master with a worker that needs no trio and no TLS, for tests with real processes.

Run as a program: ``python -m tests.master.dummy CONFIG``. A client sends one line and gets one back:

    who                 "PID PLACE GENERATION SLOT UID"
    fds                 what the open descriptors are, a word each
    hang                the worker's loop stops turning; no answer
    abort               the worker is killed by SIGKILL; no answer
    exit N              it leaves unasked
    hold                no answer until the worker is asked to leave; then "held"
    keeps               it will not leave when asked
    certs               the chain files whose certificates it serves, with the day they end

What befalls a worker at its birth is said by files beside the configuration: ``fail-boot`` (says FAILED and exits),
``crash-boot``, ``hang-boot``, ``fail-keeper``. With ``deadline`` there, a worker promises to turn within the second.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from edge.master import house, run
from edge.share.channel import Word


def _fault(heritage, name: str) -> bool:
    return (heritage.config.source.parent / name).exists()


def worker(heritage) -> int:
    if _fault(heritage, "fail-boot"):
        heritage.channel.send(Word.FAILED, b"the roof leaks")
        return 1
    if _fault(heritage, "crash-boot"):
        raise RuntimeError("the floor gives way")
    if _fault(heritage, "hang-boot"):
        time.sleep(1000)
    life = Life(heritage)
    return life.live()


class Life:
    def __init__(self, heritage) -> None:
        self.heritage = heritage
        self.held: list[socket.socket] = []
        self.listening = [sock for _, sock in heritage.listeners]
        if heritage.admin is not None:
            self.listening.append(heritage.admin)
        self.keeps = False

    def live(self) -> int:
        heritage = self.heritage
        self.promise()
        heritage.channel.send(Word.READY)
        while True:
            self.promise()
            sources = [heritage.channel, *self.listening]
            readable, _, _ = select.select(sources, [], [], 0.1)
            for source in readable:
                if source is not heritage.channel:
                    self.accept(source)
                elif self.hear():
                    return 0

    def promise(self) -> None:
        self.heritage.row.deadline = time.monotonic() + 0.5 if _fault(self.heritage, "deadline") else 0.0

    def accept(self, listener: socket.socket) -> None:
        try:
            while True:
                self.answer(listener.accept()[0])
        except BlockingIOError:
            pass

    def answer(self, client: socket.socket, prefix: str = "") -> None:
        client.setblocking(True)
        with client.makefile("rb") as lines:
            words = lines.readline().decode().split()
        heritage = self.heritage
        match words:
            case ["who"]:
                said = f"{os.getpid()} {heritage.place} {heritage.generation} {heritage.slot} {os.getuid()}"
            case ["fds"]:
                with os.scandir("/proc/self/fd") as listing:
                    said = " ".join(os.readlink(fd).split()[0] for fd in listing)
            case ["hang"]:
                time.sleep(1000)
            case ["abort"]:
                os.kill(os.getpid(), signal.SIGKILL)
            case ["exit", code]:
                os._exit(int(code))
            case ["keeps"]:
                self.keeps, said = True, "yes"
            case ["certs"]:
                said = " ".join(f"{name}={until:.0f}" for name, until in heritage.tls.expiry.items())
            case ["hold"]:
                self.held.append(client)
                return
            case _:
                said = "what?"
        client.sendall(f"{prefix}{said}\n".encode())
        client.close()

    def hear(self) -> bool:
        """Return whether it is over."""
        while (message := self.heritage.channel.receive_nowait()) is not None:
            if message.word in {Word.LEAVE, Word.GONE}:
                for listener in self.listening:
                    self.accept(listener)
                    listener.close()
                if self.keeps:
                    time.sleep(1000)
                for client in self.held:
                    client.sendall(b"held\n")
                    client.close()
                print(f"worker {os.getpid()} heard {message.word.name}", file=sys.stderr, flush=True)
                return True
            if message.word is Word.TAKE:
                for fd in message.fds:
                    self.answer(socket.socket(fileno=fd), "taken ")
            if message.word is Word.RELOAD_CERTS:
                why = b"no such certificates here" if _fault(self.heritage, "refuse-certs") else b""
                if not why:
                    self.heritage.tls.accept(message.payload, message.fds)
                for fd in message.fds:
                    os.close(fd)
                self.heritage.channel.send(Word.RELOADED, why)
            if message.word is Word.REOPEN_LOGS:
                for fd in message.fds:
                    os.write(fd, f"reopened by {os.getpid()}: {message.payload.decode()}\n".encode())
                    os.close(fd)
        return False


def keeper(heritage) -> int:
    if _fault(heritage, "fail-keeper"):
        return 1
    heritage.channel.send(Word.READY)
    print(f"keeper {os.getpid()} nice {os.nice(0)}", file=sys.stderr, flush=True)
    while True:
        select.select([heritage.channel], [], [])
        message = heritage.channel.receive_nowait()
        if message is not None and message.word in {Word.LEAVE, Word.GONE}:
            return 0


if __name__ == "__main__":
    if (Path(sys.argv[1]).parent / "hang-boot").exists():
        house.BOOT_S = 0.2  # in the master: how long a birth may take
    sys.exit(run(Path(sys.argv[1]), worker_main=worker, keeper_main=keeper))
