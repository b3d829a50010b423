"""Files that are read as a part of the configuration."""

from __future__ import annotations

import os
from pathlib import Path

from edge.config import contents
from edge.config.contents import Contents, read


def test_a_file_is_read_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"secret")

    assert Contents(path, b"secret") == read(path)
    assert "secret" not in repr(read(path))


def test_what_cannot_be_read_says_why_and_is_waited_for_by_nobody(tmp_path: Path, monkeypatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 11)
    monkeypatch.setattr(contents, "MOST", 10)

    assert "is no regular file" == read(tmp_path / "pipe").error
    assert "is no regular file" == read(tmp_path).error
    assert "cannot be read: No such file or directory" == read(tmp_path / "none").error
    assert read(tmp_path / "large").error.startswith("is larger than")
