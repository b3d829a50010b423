"""``python -m edge.cli.shop catalog|login|orders``: one origin of the demo's shop."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.shop import catalog, login
from edge.cli.shop.orders import Orders
from edge.cli.shop.server import serve


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m edge.cli.shop")
    parser.add_argument("origin", choices=["catalog", "login", "orders"])
    parser.add_argument("--name", help="what this process calls itself")
    parser.add_argument("--port", type=int, default=0, help="0 takes any")
    parser.add_argument("--orders", type=Path, default=Path("orders.jsonl"), help="the file all instances append to")
    given = parser.parse_args()
    name = given.name or given.origin
    pages = {"catalog": catalog.page, "login": login.page, "orders": Orders(given.orders, name).page}
    serve(name, pages[given.origin], given.port)


if __name__ == "__main__":
    main()
