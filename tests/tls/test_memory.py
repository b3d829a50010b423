"""Secrets as paths: sealed, nameless, gone with their descriptor."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.tls.memory import MemoryFile, seal, unseal


@pytest.mark.parametrize("data", [b"", b"secret", bytes(300_000)])
def test_what_was_sealed_is_what_is_read(data: bytes) -> None:
    fd = seal(data)
    try:
        assert data == unseal(fd)
        os.lseek(fd, 0, os.SEEK_END)
        assert data == unseal(fd)
    finally:
        os.close(fd)


def test_what_is_sealed_cannot_be_changed() -> None:
    fd = seal(b"secret")
    try:
        for change in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 1), lambda: os.ftruncate(fd, 100)):
            with pytest.raises(PermissionError):
                change()
    finally:
        os.close(fd)


def test_what_is_not_sealed_is_not_trusted() -> None:
    """Whoever sent it could change it between a check and its use."""
    fd = os.memfd_create("open", os.MFD_ALLOW_SEALING)
    try:
        with pytest.raises(ValueError, match="not sealed"):
            unseal(fd)
    finally:
        os.close(fd)


def test_what_is_no_memfd_is_an_error() -> None:
    """A file in memory (tmpfs) would be one that is not sealed."""
    read, write = os.pipe()
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            unseal(read)
    finally:
        os.close(read)
        os.close(write)


def test_a_path_lasts_as_long_as_its_block() -> None:
    with MemoryFile(b"secret") as file:
        path = Path(file.path)
        assert b"secret" == path.read_bytes()

    assert not path.exists()


def test_a_child_inherits_no_secret() -> None:
    fd = seal(b"secret")
    try:
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)
