"""What every test gets."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import suppress

import pytest
from hypothesis import settings

from tests.kit import counts

settings.register_profile("house", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("house")


@pytest.fixture(autouse=True)
def shared_memory_ends_with_the_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    Close the pages and bells a test has made.

    By design they live until their process ends, since views of them are held in hot paths; but this process runs
    thousands of tests, and select() in some of them cannot take descriptors above 1023.
    """
    made: list[int] = []

    def remembering(make):
        def wrapper(*args):
            fd = make(*args)
            made.append(fd)
            return fd

        return wrapper

    monkeypatch.setattr(os, "eventfd", remembering(os.eventfd))
    monkeypatch.setattr(os, "memfd_create", remembering(os.memfd_create))
    yield
    for fd in made:
        with suppress(OSError):  # readlink, close: the test has closed it itself
            if "eventfd" in (what := os.readlink(f"/proc/self/fd/{fd}")) or "memfd:" in what:
                os.close(fd)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked ``long``, in a file that is named too, unless ``-m`` has something to say of it."""
    if "long" in config.getoption("markexpr"):
        return
    if left_out := [item for item in items if item.get_closest_marker("long")]:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give a test that skipped itself in one of its tasks its reason back: pytest-trio keeps the bare fact."""
    report = yield
    if report.skipped and call.excinfo is not None:
        cause: BaseException | None = call.excinfo.value.__context__
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, pytest.skip.Exception) and isinstance(report.longrepr, tuple):
            report.longrepr = (*report.longrepr[:2], f"Skipped: {cause.msg}")
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was behind the suites of many cases."""
    if lines := counts.told():
        terminalreporter.section("what was tried")
        for line in lines:
            terminalreporter.write_line(line)
