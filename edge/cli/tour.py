"""
The demo's tour: what to try, as shell lines that work, and what each must show.

A :class:`Stop` is both what is printed and what ``edge demo --check`` runs: one text, so the printed line cannot rot. Knows
nothing of processes; it is told ports, paths and process ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HOST = "shop.example"


@dataclass(frozen=True, slots=True)
class Place:
    """What the tour's lines need to know about the running demo."""

    folder: Path
    ca: Path
    https_port: int
    http_port: int
    admin_port: int
    master_pid: int
    orders_pids: tuple[int, int]
    renewed_year: int


@dataclass(frozen=True, slots=True)
class Stop:
    """
    One thing to try.

    Attributes:
        command: for ``sh``; may be repeated at will.
        shows: what to look at, for people.
        runs: for every run of the command in turn, the patterns its output must match, in any order and any case.
        refuses: patterns that no run's output may match.
        settles: it may take a moment until it shows (a log is flushed, a reload is finished), so try again.
    """

    title: str
    command: str
    shows: str
    runs: tuple[tuple[str, ...], ...]
    refuses: tuple[str, ...] = ()
    settles: bool = False

    def missing(self, run: int, output: str) -> list[str]:
        """Return what the output of run number *run* should say and does not, or says and should not."""
        flags = re.IGNORECASE | re.MULTILINE
        return [
            *(f"no {pattern!r}" for pattern in self.runs[run] if not re.search(pattern, output, flags)),
            *(f"but {pattern!r}" for pattern in self.refuses if re.search(pattern, output, flags)),
        ]


def tour(place: Place) -> list[Stop]:
    """Lay out the stops, in walking order: the last ones change what is running."""
    shop = f"https://{HOST}:{place.https_port}"
    curl = f"curl -sS --cacert {quote(str(place.ca))} --resolve {HOST}:{place.https_port}:127.0.0.1"
    heads = f"{curl} -o /dev/null -D -"
    file = f"{quote(str(place.folder))}/{{}}".format
    return [
        Stop(
            "A page comes from its origin once",
            f"{heads} {shop}/catalog/",
            "Run it twice. Cache-Status: first 'edge; fwd=uri-miss; … stored', then 'edge; hit; ttl=…' with an Age.",
            ((r"^HTTP/1.1 200", r"^cache-status: edge; fwd=uri-miss"), (r"^cache-status: edge; hit", r"^age: \d")),
        ),
        Stop(
            "What a browser already has is not sent again",
            f"{curl} -o /dev/null --etag-save {file('etag')} --etag-compare {file('etag')} -w '%{{http_code}} %{{size_download}} bytes\\n' {shop}/catalog/",
            "Run it twice: 200 with the page, then 304 with 0 bytes.",
            ((r"^200 \d{4}",), (r"^304 0 bytes",)),
        ),
        Stop(
            "Compressed once, sent many times",
            f"{heads} -H 'Accept-Encoding: br, gzip;q=0.5' {shop}/catalog/",
            "Content-Encoding: br, an ETag of its own, and Vary: Accept-Encoding. (-H 'Accept-Encoding: zstd' works too.)",
            ((r"^content-encoding: br", r'^etag: W/"', r"^vary: .*accept-encoding"),),
        ),
        Stop(
            "A part of it",
            f"{curl} -D - -r 0-14 {shop}/catalog/",
            "206, Content-Range, and fifteen bytes of HTML.",
            ((r"^HTTP/1.1 206", r"^content-range: bytes 0-14/\d+", r"<!doctype html>"),),
        ),
        Stop(
            "A stream passes as it is made",
            f"{curl} -N -w 'first after %{{time_starttransfer}} s, all after %{{time_total}} s\\n' '{shop}/prices?events=5&every_ms=300'",
            "Five prices, one by one: nothing holds a stream back to store or compress it.",
            ((r"(?:^id: \d\nevent: price\ndata: .*\n\n){5}", r"^first after 0\..* all after 1\."),),
        ),
        Stop(
            "Plain HTTP is sent to HTTPS",
            f"curl -sS -o /dev/null -D - --resolve {HOST}:{place.http_port}:127.0.0.1 'http://{HOST}:{place.http_port}/catalog/?from=plain'",
            "308 and the same URL with https.",
            ((r"^HTTP/1.1 308", rf"^location: https://{re.escape(HOST)}(:\d+)?/catalog/\?from=plain"),),
        ),
        Stop(
            "A login is never kept",
            f"{heads} -d name=ada -c {file('cookies')} {shop}/login",
            "Run it twice: slow each time, Set-Cookie each time, and Cache-Status says fwd, never hit.",
            ((r"^HTTP/1.1 303", r"^set-cookie: session=ada", r"^cache-status: edge; fwd="),) * 2,
            refuses=(r"edge; hit", "stored"),
        ),
        Stop(
            "Orders are for those who are signed in",
            f"{heads} -H 'X-User: ada' {shop}/orders; {curl} -b {file('cookies')} {shop}/orders",
            "Without a cookie: to the login, whatever one says of oneself. With it: the orders. The edge asks the login service each time.",
            ((r"^HTTP/1.1 303", r"^location: /login", r'"orders": \['),),
        ),
        Stop(
            "Orders are taken by two instances",
            f"for order in 1 2 3 4; do {curl} -b {file('cookies')} -d item=lamp {shop}/orders; done",
            "'taken_by' names both, in turns.",
            ((r'"taken_by": "orders-1"', r'"taken_by": "orders-2"', r'(?:.*"order": .*\n){4}'),),
            refuses=(r"error",),
        ),
        Stop(
            "One of them dies and no order is lost",
            f"kill -9 {place.orders_pids[1]}; for order in 1 2 3 4; do {curl} -b {file('cookies')} -d item=book {shop}/orders; done; {curl} -b {file('cookies')} {shop}/orders",
            "Four more orders, all by orders-1, and the list has all of them. (orders-2 is started again after ten seconds.)",
            ((r'(?:.*"order": .*"taken_by": "orders-1"\}\n){4}', r'"orders": \[.*"taken_by": "orders-2".*"book"'),),
            refuses=(r"error", r"curl: "),
        ),
        Stop(
            "Who tries too often must wait",
            f"for try in 1 2 3 4 5 6 7 8 9; do {curl} -o /dev/null -D - -d name=eve {shop}/login | grep -iE '^(HTTP|ratelimit:|retry-after)'; done",
            "303 and how many tries are left, then 429 and when to come again. One budget, whichever worker is asked.",
            ((r'^ratelimit: "login";r=0;t=\d', r"^HTTP/1.1 429", r"^retry-after: \d"),),
        ),
        Stop(
            "What it counts, and whether it is well",
            f"curl -sS http://127.0.0.1:{place.admin_port}/metrics | grep '^edge_requests_total'; curl -sS http://127.0.0.1:{place.admin_port}/readyz",
            "Exchanges by what the cache did, in the words of Cache-Status.",
            ((r'^edge_requests_total\{cache="hit"\} [1-9]', r'^edge_requests_total\{cache="uri-miss"\} [1-9]'),),
            settles=True,
        ),
        Stop(
            "A new certificate, and nobody is disturbed",
            f"cp {file('renewed')}/*.pem {file('certs')}/ && kill -HUP {place.master_pid}; sleep 1; "
            f"{curl} -v -o /dev/null {shop}/ 2>&1 | grep -E 'expire date|HTTP/1.1 200'",
            "The expiry date moves by a year; no worker was restarted, no connection closed.",
            ((rf"expire date: .* {place.renewed_year} ", r"HTTP/1.1 200"),),
            settles=True,
        ),
    ]
