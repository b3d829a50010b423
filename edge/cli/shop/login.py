"""
The login: slow on purpose, never to be kept, and it sets a cookie.

Whoever names themselves is let in; the cookie holds nothing but that name. It is a demo: there is no password to lose.
"""

from __future__ import annotations

import html
import secrets
import threading
from importlib.resources import files
from string import Template
from urllib.parse import quote

from edge.cli.shop.server import NOT_FOUND, Answer, Asked

SLOW_S = 0.8
"""What a careful password hash and a far database take together."""

HTML = "text/html; charset=utf-8"


def page(asked: Asked) -> Answer:
    """Answer a request to the login."""
    if asked.path.rstrip("/") != "/login":
        return NOT_FOUND
    if asked.method != "POST":
        text = files(__package__).joinpath("pages/login.html").read_text("utf-8")
        name = html.escape(asked.cookies.get("name", ""))
        return Answer(200, HTML, Template(text).substitute(name=name, token=secrets.token_urlsafe(12)).encode())
    threading.Event().wait(SLOW_S)
    name = asked.form.get("name", [""])[0].strip()[:40]
    if not name:
        return Answer(422, "text/plain; charset=utf-8", b"A name, please.\n")
    cookie = f"name={quote(name)}; Path=/; Secure; HttpOnly; SameSite=Lax"
    return Answer(303, HTML, fields=[("Location", "/orders"), ("Set-Cookie", cookie)])
