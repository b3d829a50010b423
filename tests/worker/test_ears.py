"""Origins are heard in the order in which they spoke, a bounded while per turn, and never in another's name."""

from __future__ import annotations

import select
import socket

import pytest

from edge.worker.ears import EpollEars


class Clock:
    """Ticks a millisecond each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def mono(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def ears():
    epoll = select.epoll()
    pairs = [socket.socketpair() for _ in range(6)]
    made = EpollEars(epoll)
    for near, _ in pairs:
        made.open(near.fileno())
    yield made, [near.fileno() for near, _ in pairs]
    epoll.close()
    for near, far in pairs:
        near.close()
        far.close()


def wait(ears: EpollEars, fds: list[int], heard: list[int]) -> None:
    for fd in fds:
        assert ears.call(fd, heard.append, fd)
        ears.pending[fd] = select.EPOLLIN


async def test_a_turn_hears_for_a_while_and_the_rest_is_heard_in_the_next(ears) -> None:
    made, fds = ears
    heard: list[int] = []
    wait(made, fds, heard)
    made.hear(Clock(), 0.0025, 1)

    assert heard == fds[:3]
    assert list(made.pending) == fds[3:]
    made.hear(Clock(), 1.0, 1)
    assert heard == fds


async def test_a_turn_that_is_over_hears_some_all_the_same(ears) -> None:
    made, fds = ears
    heard: list[int] = []
    wait(made, fds, heard)
    made.hear(Clock(), 0.0, 2)

    assert heard == fds[:2]


async def test_what_was_said_by_a_connection_that_is_closed_is_not_the_next_ones(ears) -> None:
    made, fds = ears
    heard: list[int] = []
    wait(made, fds[:1], heard)
    made.pending[fds[0]] |= select.EPOLLRDHUP
    made.close(fds[0])
    made.open(fds[0])
    made.hear(Clock(), 1.0, 2)

    assert heard == []
    assert made.call(fds[0], heard.append, fds[0]), "the new one has not ended"
