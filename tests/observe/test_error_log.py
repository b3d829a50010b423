"""What the operator reads is one clean line per thing said, and saying it cannot fail an exchange."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.observe.error_log import (
    LOGGER,
    SELDOM_CAUSES,
    SELDOM_KEYS,
    SELDOM_S,
    ErrorLog,
    Seldom,
    current,
    is_journal,
    printable,
    set_up,
)

logger = logging.getLogger(f"{LOGGER}.test")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "errors.log"


@pytest.fixture
def log(path: Path) -> Iterator[ErrorLog]:
    log = set_up(path, process="worker 3", environ={})
    yield log
    log.close()


@pytest.mark.usefixtures("log")
def test_a_line_has_time_level_process_and_what_is_said(path: Path) -> None:
    logger.warning("origin %s is not well", "shop")

    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d warning worker 3\[{os.getpid()}\]: origin shop is not well\n",
        path.read_text(),
    )


@pytest.mark.usefixtures("log")
def test_what_others_wrote_cannot_begin_a_new_line(path: Path) -> None:
    logger.error("refused: %s", "a\n2026 error master: all lost\x1b[2J\u202e")

    assert path.read_text().count("\n") == 1
    assert r"a\n2026 error master: all lost\x1b[2J\u202e" in path.read_text()


@pytest.mark.usefixtures("log")
def test_a_traceback_follows_line_by_line(path: Path) -> None:
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        logger.exception("bug")
    lines = path.read_text().splitlines()

    assert lines[0].endswith(": bug")
    assert lines[1].endswith(":     Traceback (most recent call last):")
    assert all("error worker 3" in line for line in lines)


def test_a_record_that_cannot_be_formatted_is_said_as_such(log: ErrorLog, path: Path) -> None:
    """Handed to our handler alone: pytest's own refuses such records."""
    log._handler.handle(logging.LogRecord(LOGGER, logging.ERROR, "somewhere.py", 7, "%d", ("no number",), None))

    assert path.read_text().startswith("somewhere.py:7: log record '%d': ")


def test_the_level_decides_what_is_said(path: Path) -> None:
    log = set_up(path, level="warning", environ={})
    logger.info("quiet")
    logger.warning("loud")
    log.close()

    assert "loud" in path.read_text()
    assert "quiet" not in path.read_text()


def test_setting_up_again_replaces_the_first(path: Path, tmp_path: Path) -> None:
    set_up(path, environ={})
    second = set_up(tmp_path / "second.log", environ={})
    logger.error("once")
    second.close()

    assert path.read_text() == ""
    assert (tmp_path / "second.log").read_text().count("once") == 1


def test_a_path_that_cannot_be_opened_leaves_the_old_log_in_use(path: Path, tmp_path: Path) -> None:
    log = set_up(path, environ={})
    with pytest.raises(OSError, match="No such file"):
        set_up(tmp_path / "missing" / "log", environ={})
    logger.error("still here")
    log.close()

    assert "still here" in path.read_text()


def test_reopen_follows_a_renamed_file(path: Path) -> None:
    log = set_up(path, environ={})
    path.rename(path.with_suffix(".1"))
    log.reopen()
    logger.error("new")
    log.close()

    assert "new" in path.read_text()


def test_another_process_can_open_the_file_for_us(path: Path, tmp_path: Path) -> None:
    log = set_up(path, environ={})
    log.replace(os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT))
    logger.error("new")
    log.close()

    assert "new" in (tmp_path / "other").read_text()


def test_the_log_in_use_can_be_found_by_who_was_not_given_it(log: ErrorLog, path: Path, tmp_path: Path) -> None:
    found = current()
    assert found is not None
    found.replace(os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT))
    logger.error("new")
    log.close()

    assert "new" in (tmp_path / "other").read_text()
    assert current() is None


def test_for_the_journal_every_line_begins_with_its_priority() -> None:
    reader, writer = os.pipe()
    here = os.fstat(2)
    log = set_up(environ={"JOURNAL_STREAM": f"{here.st_dev}:{here.st_ino}"}, process="master", fd=writer)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logger.log(level, "said")
    log.close()

    assert ["<6>master: said", "<4>master: said", "<3>master: said", "<2>master: said"] == os.read(
        reader, 4096
    ).decode().splitlines()
    os.close(reader)


def test_the_journal_is_recognised_by_device_and_inode_only() -> None:
    here = os.fstat(2)

    assert is_journal({"JOURNAL_STREAM": f"{here.st_dev}:{here.st_ino}"})
    assert not is_journal({"JOURNAL_STREAM": "1:2"})
    assert not is_journal({})


def test_a_closed_standard_error_is_no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: int) -> os.stat_result:
        raise OSError(9, "Bad file descriptor")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", closed)
        journal = is_journal({"JOURNAL_STREAM": "1:2"})

    assert not journal


def test_a_sentence_is_said_at_once_then_seldom_with_the_count_of_what_was_held_back() -> None:
    seldom = Seldom()

    assert [0, None, None] == [seldom.may_say("a", now) for now in (100.0, 100.1, 100.0 + SELDOM_S - 1)]
    assert seldom.may_say("b", 100.2) == 0
    assert seldom.may_say("a", 100.0 + SELDOM_S) == 2
    assert seldom.may_say("a", 100.0 + 2 * SELDOM_S) == 0


def test_another_cause_makes_another_sentence() -> None:
    """Another sentence's causes are its own."""
    seldom = Seldom()

    assert [0, None, None, 2, None, 1] == [
        seldom.may_say("a", 100.0 + at, cause) for at, cause in enumerate(["one", "one", "one", "two", "one", "three"])
    ]
    assert seldom.may_say("b", 106.0, "one") == 0
    assert seldom.may_say("a", 107.0, "two") is None
    assert [1, None] == [seldom.may_say("a", 100.0 + SELDOM_S, cause) for cause in ("two", "two")]


def test_causes_that_are_ever_different_are_said_a_few_times_a_minute() -> None:
    """A cause may hold what a client has sent."""
    seldom = Seldom()
    said = [seldom.may_say("a", 0.01 * number, f"cause {number}") for number in range(1000)]

    assert [0] * SELDOM_CAUSES + [None] * (1000 - SELDOM_CAUSES) == said
    assert 1000 - SELDOM_CAUSES == seldom.may_say("a", SELDOM_S, "cause")
    assert len(seldom._held["a"].causes) <= SELDOM_CAUSES


def test_the_memory_of_sentences_is_bounded() -> None:
    seldom = Seldom()
    for number in range(SELDOM_KEYS * 3):
        seldom.may_say(number, 0.0)

    assert len(seldom._held) <= SELDOM_KEYS


def test_printable_text_is_left_alone() -> None:
    assert printable("grün “ok”") == "grün “ok”"
