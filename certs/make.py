"""
Make a certificate authority and a certificate signed by it: ``python certs/make.py FOLDER NAME [NAME ...]``.

For tests, benches and trying things out; ``edge demo`` makes its own in the same way. Writes ``ca.pem``,
``fullchain.pem`` and ``privkey.pem`` into FOLDER. What is made under ``certs/made/`` is ignored by git.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edge.tls.selfsigned import Made, make

__all__ = ["Made", "main", "make"]


def main(arguments: list[str] | None = None) -> int:
    """Make what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where to; made if need be")
    parser.add_argument("names", nargs="+", metavar="name", help="host names, *.wildcards or IP addresses")
    parser.add_argument("--days", type=int, default=30, help="how long it is valid (%(default)s)")
    given = parser.parse_args(arguments)
    try:
        made = make(given.folder, given.names, days=given.days)
    except (OSError, ValueError) as error:
        print(f"{given.folder}: {error}", file=sys.stderr)
        return 1
    print(f"trust   {made.ca}\nchain   {made.chain}\nkey     {made.key}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
