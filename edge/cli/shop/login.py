"""
The login: slow on purpose, never to be kept, and it sets a cookie that nobody else can make.

Whoever names themselves is let in; the cookie holds that name, signed by this process. ``/login/check`` is for the edge, which asks
there whether a request to the orders may pass, and tells the orders the name it hears. It is a demo: there is no password to lose.
"""

from __future__ import annotations

import hmac
import html
import secrets
import threading
from importlib.resources import files
from string import Template
from urllib.parse import quote, unquote

from edge.cli.shop.server import NOT_FOUND, Answer, Asked

SLOW_S = 0.8
"""What a careful password hash and a far database take together."""

HTML = "text/html; charset=utf-8"


COOKIE = "session"
_SECRET = secrets.token_bytes(32)


def page(asked: Asked) -> Answer:
    """Answer a request to the login."""
    if asked.path == "/login/check":
        return _check(asked)
    if asked.path.rstrip("/") != "/login":
        return NOT_FOUND
    if asked.method != "POST":
        text = files(__package__).joinpath("pages/login.html").read_text("utf-8")
        name = html.escape(signed_in(asked))
        return Answer(200, HTML, Template(text).substitute(name=name, token=secrets.token_urlsafe(12)).encode())
    threading.Event().wait(SLOW_S)
    name = asked.form.get("name", [""])[0].strip()[:40]
    if not name:
        return Answer(422, "text/plain; charset=utf-8", b"A name, please.\n")
    cookie = f"{COOKIE}={quote(name)}.{_signature(name)}; Path=/; Secure; HttpOnly; SameSite=Lax"
    return Answer(303, HTML, fields=[("Location", "/orders"), ("Set-Cookie", cookie)])


def signed_in(asked: Asked) -> str:
    """Return the name that a cookie of ours says; empty if there is none."""
    said, _, signature = asked.cookies.get(COOKIE, "").rpartition(".")
    name = unquote(said)
    return name if name and hmac.compare_digest(signature.encode(), _signature(name).encode()) else ""


def _check(asked: Asked) -> Answer:
    """Say whether somebody is signed in, and who; or where to do that."""
    name = signed_in(asked)
    if not name:
        return Answer(303, HTML, fields=[("Location", "/login")])
    return Answer(204, HTML, fields=[("X-User", quote(name))])


def _signature(name: str) -> str:
    return hmac.digest(_SECRET, name.encode(), "sha256").hex()[:32]
