"""
Coverage-guided fuzzing of one parser: ``python -m tests.fuzz.guided requests --seconds 3600``.

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
    from tests.fuzz.parsers import CORPUS, PARSERS


def main() -> None:
    """Fuzz until the time is over, or a claim is broken. Ends the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("parser", choices=PARSERS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--found", type=Path, help="where to put inputs that reach something new")
    parser.add_argument("--crashes", type=Path, default=Path())
    parser.add_argument("--longest", type=int, default=1024)
    given = parser.parse_args()
    found = given.found or Path(tempfile.mkdtemp(prefix="edge-fuzz-"))
    found.mkdir(parents=True, exist_ok=True)
    options = [
        sys.argv[0],
        f"-max_total_time={given.seconds}",
        f"-max_len={given.longest}",
        f"-artifact_prefix={given.crashes}/",
        "-print_final_stats=1",
        "-timeout=20",
        str(found),
        str(CORPUS / given.parser),
    ]
    atheris.Setup(options, PARSERS[given.parser])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
