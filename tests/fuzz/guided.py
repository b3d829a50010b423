"""
Coverage-guided fuzzing of one parser: ``python -m tests.fuzz.guided requests --seconds 3600``, or of ``all``, in turns.

atheris watches which lines and branches of ``edge`` each input reaches, keeps those that reach new ones, and changes them further.
It begins with the parser's corpus. What it finds on the way goes into a folder of its own (``--found``); copy into ``corpus/`` what
is worth keeping. An input that breaks the parser's claim is written to ``--crashes`` and its name printed; give it as the corpus's and
``test_parsers.py`` fails with it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edge"]):
    from tests.fuzz.parsers import CORPUS, PARSERS, corpus_of


def one_of_all(data: bytes) -> None:
    """The first byte says whose claim is tried with the rest."""
    if data:
        list(PARSERS.values())[data[0] % len(PARSERS)](data[1:])


def corpus_of_all(folder: Path) -> Path:
    """Write every parser's corpus to *folder*, with the byte in front."""
    folder.mkdir()
    for number, name in enumerate(PARSERS):
        for path in corpus_of(name):
            (folder / f"{name}-{path.name}").write_bytes(bytes([number]) + path.read_bytes())
    return folder


def main() -> None:
    """Fuzz until the time is over, or a claim is broken. Ends the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("parser", choices=[*PARSERS, "all"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--found", type=Path, help="where to put inputs that reach something new")
    parser.add_argument("--crashes", type=Path, default=Path())
    parser.add_argument("--longest", type=int, default=1024)
    given = parser.parse_args()
    found = given.found or Path(tempfile.mkdtemp(prefix="edge-fuzz-"))
    found.mkdir(parents=True, exist_ok=True)
    is_all = given.parser == "all"
    corpus = corpus_of_all(found / "corpus") if is_all else CORPUS / given.parser
    options = [
        sys.argv[0],
        f"-max_total_time={given.seconds}",
        f"-max_len={given.longest}",
        f"-artifact_prefix={given.crashes}/",
        "-print_final_stats=1",
        "-timeout=20",
        str(found),
        str(corpus),
    ]
    atheris.Setup(options, one_of_all if is_all else PARSERS[given.parser])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
