"""When memory is given back."""

import pytest

from edge.worker.tide import MANY, Tide


def told(*sessions: int) -> list[int]:
    given: list[int] = []
    tide = Tide(lambda: given.append(1))
    return [number for number in sessions if tide.look(number)]


@pytest.mark.parametrize(
    ("sessions", "given"),
    [
        ((0, 10, 0), []),
        ((0, MANY - 1, 0), []),
        ((0, MANY, 0, 0), [0]),
        ((0, 10_000, 9_000, 6_000, 5_000, 4_000, 10, 0, 0), [0]),
        ((10_000, 5_000, 4_990, 10_000, 5_000, 5_000, 5_000), [4_990, 5_000]),
        ((10_000, 10_000, 9_999), []),
    ],
)
def test_once_for_each_crowd_when_the_last_of_it_has_left(sessions, given):
    assert given == told(*sessions)


def test_the_c_library_is_asked():
    assert Tide().look(MANY) is False
    assert Tide().look(0) is False
    tide = Tide()
    tide.look(5 * MANY)
    tide.look(0)
    assert tide.look(0)
