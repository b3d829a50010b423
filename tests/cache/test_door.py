"""What is done with a database that cannot be trusted, and when one can."""

from __future__ import annotations

import json
import os
import signal

import pytest

from edge.cache.audit import faults
from edge.cache.store import Store
from tests.cache.conftest import MIB
from tests.cache.test_store import Elsewhere, bodies_of, in_another_process, put

SIZE = 32 * MIB


def filled(folder, **more) -> None:
    store = Store.open(folder, SIZE, **more)
    put(store)
    store.close()


def killed_while_open(folder, boot) -> None:
    def work():
        store = Store.open(folder, SIZE, boot=boot)
        put(store)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_another_process(work) == -signal.SIGKILL


def test_a_new_store_is_empty_and_says_nothing(folder):
    store = Store.open(folder / "deep" / "er", SIZE)

    assert store.note is None
    assert bodies_of(store) == []
    store.close()


def test_copies_survive_a_restart(folder):
    filled(folder)
    store = Store.open(folder, SIZE)

    assert store.note is None
    assert bodies_of(store) == [b"hello"]
    store.close()


def test_copies_survive_a_machine_s_restart_after_a_clean_end(folder):
    filled(folder, boot="one")
    store = Store.open(folder, SIZE, boot="two")

    assert store.note is None
    assert bodies_of(store) == [b"hello"]
    store.close()


def test_copies_survive_kills(folder):
    killed_while_open(folder, "one")
    store = Store.open(folder, SIZE, boot="one")

    assert store.note is None
    assert bodies_of(store) == [b"hello"]
    store.close()


def test_an_unclean_stop_of_the_machine_discards_everything(folder):
    killed_while_open(folder, "one")
    store = Store.open(folder, SIZE, boot="two")

    assert store.note == "the machine stopped before the cache was on the disk: started empty"
    assert bodies_of(store) == []
    put(store)
    assert bodies_of(store) == [b"hello"]
    store.close()


def test_only_the_last_one_out_marks_it_clean(folder):
    other = Elsewhere(lambda: filled(folder, boot="one"))
    store = Store.open(folder, SIZE, boot="one")
    assert other.run() == 0
    state = folder / "state"

    assert json.loads(state.read_text())["state"] == "open"
    store.close()
    assert json.loads(state.read_text())["state"] == "clean"


def test_who_comes_in_while_others_are_there_examines_nothing(folder):
    def join():
        return 0 if bodies_of(Store.open(folder, SIZE, boot="two")) == [b"hello"] else 1

    other = Elsewhere(join)
    store = Store.open(folder, SIZE, boot="one")
    put(store)

    assert other.run() == 0
    store.close()


@pytest.mark.parametrize("damage", ["garbage", "cut", "empty", "flipped"])
def test_a_damaged_file_is_set_aside_and_the_store_starts_empty(folder, damage):
    filled(folder)
    data = folder / "data.mdb"
    whole = data.read_bytes()
    match damage:
        case "garbage":
            data.write_bytes(os.urandom(len(whole)))
        case "cut":
            data.write_bytes(whole[: len(whole) // 2 // 4096 * 4096])
        case "empty":
            data.write_bytes(b"x" * 100)
        case "flipped":
            data.write_bytes(bytes(255 - byte for byte in whole[:8192]) + whole[8192:])

    store = Store.open(folder, SIZE)

    assert store.note is not None
    assert "set aside as damaged-" in store.note
    assert len(list(folder.glob("damaged-*.mdb"))) == 1
    assert bodies_of(store) == []
    put(store)
    assert bodies_of(store) == [b"hello"]
    store.close()


def test_of_several_damaged_files_one_is_kept(folder):
    for number in range(3):
        filled(folder)
        (folder / "data.mdb").write_bytes(b"junk" * 5000)
        os.utime(folder / "data.mdb", (number, number))
        Store.open(folder, SIZE).close()

    assert [path.name for path in folder.glob("damaged-*")] == ["damaged-2.mdb"]


def test_damage_found_in_use_is_dealt_with_at_the_next_start(folder):
    store = Store.open(folder, SIZE)
    put(store)
    store._door.report_damage("a page is not what it was")
    store.close()

    store = Store.open(folder, SIZE)
    assert store.note is not None
    assert "a page is not what it was" in store.note
    assert bodies_of(store) == []
    store.close()
    again = Store.open(folder, SIZE)
    assert again.note is None
    again.close()


@pytest.mark.parametrize(
    ("state", "note"),
    [
        ("", "the cache's state is unreadable: started empty"),
        ("[]", "the cache's state is unreadable: started empty"),
        ('{"format": 0, "state": "clean"}', "the cache was written in another format: started empty"),
    ],
)
def test_a_state_that_says_nothing_we_know_discards(folder, state, note):
    filled(folder)
    (folder / "state").write_text(state)
    store = Store.open(folder, SIZE)

    assert store.note == note
    assert bodies_of(store) == []
    store.close()


def test_a_smaller_size_than_what_is_there_starts_empty(folder):
    store = Store.open(folder, SIZE)
    put(store, body=os.urandom(4 * MIB))
    store.close()

    store = Store.open(folder, 2 * MIB)
    assert store.note == "the cache is larger than its new size: started empty"
    store.close()


def test_a_larger_size_keeps_everything(folder):
    filled(folder)
    store = Store.open(folder, 2 * SIZE)

    assert store.note is None
    assert bodies_of(store) == [b"hello"]
    assert faults(store) == []
    store.close()


def test_a_directory_that_cannot_be_made_is_an_os_error(folder):
    (folder / "file").write_text("")

    with pytest.raises(OSError, match="file"):
        Store.open(folder / "file" / "cache", SIZE)
