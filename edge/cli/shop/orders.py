"""
The orders: private, never to be kept, answered by two instances that share one file. Who asks is what the edge says.

An order is one appended line, written before it is answered, so an instance may be killed at any time and nothing that
was confirmed is lost.
"""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING

from edge.cli.shop.catalog import PRODUCTS
from edge.cli.shop.server import NOT_FOUND, Answer, Asked

if TYPE_CHECKING:
    from pathlib import Path

JSON = "application/json"


class Orders:
    """
    One instance.

    Args:
        path: the file all instances append to.
        instance: what this one calls itself.
    """

    def __init__(self, path: Path, instance: str) -> None:
        self._path = path
        self._instance = instance

    def page(self, asked: Asked) -> Answer:
        """Answer a request to the orders."""
        if asked.path.rstrip("/") != "/orders":
            return NOT_FOUND
        if asked.method == "POST":
            return self._place(asked.form.get("item", [""])[0], asked.user or "somebody")
        body = {"instance": self._instance, "pid": os.getpid(), "orders": self._all()}
        return Answer(200, JSON, json.dumps(body).encode() + b"\n", "private, no-cache")

    def _place(self, item: str, name: str) -> Answer:
        if item not in PRODUCTS:
            return Answer(
                422, JSON, json.dumps({"error": f"we do not sell that; we sell {', '.join(PRODUCTS)}"}).encode() + b"\n"
            )
        order = {"order": secrets.token_hex(4), "item": item, "name": name, "taken_by": self._instance}
        line = json.dumps(order).encode() + b"\n"
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
        return Answer(201, JSON, line, fields=[("Location", "/orders")])

    def _all(self) -> list[dict[str, str]]:
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text("utf-8").splitlines()]
