"""The command line: what is asked for, and the exit codes scripts rely on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edge.master
from edge import __version__
from edge.cli import DEFAULT_FILE, main

GOOD = '[[listener]]\naddress = "127.0.0.1:0"\nredirect = "https"\n'


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edge {__version__}\n"


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["check", "-h"], ["demo", "-h"]])
def test_help_is_not_a_failure(argv, capsys):
    assert main(argv) == 0
    assert "usage: edge" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [[], ["chek"], ["run", "--fast"], ["run", "x.toml"], ["check", "-c"], ["run", "--conf", "x"], ["demo", "-c", "x"]],
)
def test_bad_usage_is_2_and_says_so(argv, capsys):
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("usage: edge")


def test_the_file_has_a_default():
    assert Path("/etc/edge/edge.toml") == DEFAULT_FILE


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["run"], DEFAULT_FILE),
        (["run", "-c", "x.toml"], Path("x.toml")),
        (["run", "--config", "x.toml"], Path("x.toml")),
        (["run", "--config=x.toml"], Path("x.toml")),
    ],
)
def test_run_hands_the_file_to_the_master_and_returns_its_code(monkeypatch, argv, expected):
    asked = []
    monkeypatch.setattr(edge.master, "run", lambda path: asked.append(path) or 7, raising=False)

    assert main(argv) == 7
    assert [expected] == asked


@pytest.mark.parametrize(("argv", "check"), [(["demo"], False), (["demo", "--check"], True)])
def test_demo_is_run_or_walked(monkeypatch, argv, check):
    from edge.cli import demo

    asked = []
    monkeypatch.setattr(demo, "run", lambda **given: asked.append(given) or 0)

    assert main(argv) == 0
    assert [{"check": check}] == asked


def python_m_edge(*argv, **options):
    return subprocess.run(
        [sys.executable, "-m", "edge", *argv], capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_python_m_edge_is_edge(tmp_path):
    (tmp_path / "edge.toml").write_text(GOOD)

    ran = python_m_edge("check", "-c", str(tmp_path / "edge.toml"))

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"{tmp_path}/edge.toml: good\n", "")


def test_a_reader_that_has_enough_is_no_traceback(tmp_path):
    (tmp_path / "edge.toml").write_text("x = 1\n" * 1)
    reader, writer = os.pipe()
    os.close(reader)

    ran = subprocess.run(
        [sys.executable, "-u", "-m", "edge", "check", "-c", str(tmp_path / "edge.toml")],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)

    assert (ran.returncode, ran.stderr) == (1, b"")


def test_asking_for_the_version_imports_nothing_that_serves():
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edge", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert not re.search(r"\| +(trio|lmdb|cryptography|rich|edge\.(master|worker|config))\b", ran.stderr)
