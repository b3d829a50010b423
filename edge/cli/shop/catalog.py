"""
The catalog: pages and pictures that change seldom and may be kept by anybody; prices that change all the time.

Pages are big enough to be worth compressing and carry ETag and Last-Modified; pictures are named by version and
immutable; ``/prices`` is a stream of server-sent events, one as often as asked.
"""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from edge.cli.shop.server import NOT_FOUND, Answer, Asked

if TYPE_CHECKING:
    from collections.abc import Iterator

HTML = "text/html; charset=utf-8"
CHANGED_WALL = 1_760_000_000.0
"""When the catalog last changed: a date that never moves, so that validators survive a restart of the origin."""

PAGE_CACHE = "public, max-age=60, stale-while-revalidate=30, stale-if-error=600"
PICTURE_CACHE = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Product:
    """One thing for sale."""

    slug: str
    name: str
    cents: int
    line: str
    text: str


PRODUCTS = {
    product.slug: product
    for product in (
        Product("lamp", "Desk lamp “Heron”", 8900, "Bends where you look.",
                "A steel arm on two joints and a shade of spun aluminium. It stays where it is put, warms from amber to "
                "white as it brightens, and comes apart with one hexagonal key when, in some years, the lead wants replacing."),
        Product("kettle", "Kettle “Oriel”", 6400, "Sings a fifth before it boils.",
                "Enamelled steel with a spout that does not drip and a lid that does not fall. The whistle is two reeds tuned "
                "a fifth apart: the lower one tells you to warm the pot, the upper one that it is time."),
        Product("clock", "Wall clock “Ferry”", 12500, "A timetable's face.",
                "Drawn after the clocks on a lake's landing stages: a white face, minutes in bars, no numerals, and a second "
                "hand that waits for the minute before it leaves. Runs from one cell for about two years."),
        Product("chair", "Chair “Weir”", 24900, "Four legs, no screws.",
                "Ash, steamed and bent, held by wedges that tighten as the wood dries. The seat is woven from paper cord, "
                "a hundred and twenty metres of it, and can be woven again by anyone with an afternoon and the leaflet."),
        Product("plant", "Plant pot “Delta”", 3800, "Waters from below.",
                "Two pots of fired clay, one inside the other: fill the outer one and the inner drinks what it needs. Enough "
                "for three weeks in spring, for ten days in August. The plant in the picture is not part of the offer."),
        Product("book", "Notebook “Log”", 1900, "Opens flat, stays flat.",
                "One hundred and ninety-two pages of paper that takes ink without feathering, sewn in sixteens, numbered, with "
                "three empty pages in front for the index you will write when it is full."),
    )
}  # fmt: skip


def page(asked: Asked) -> Answer:
    """Answer a request to the catalog."""
    match asked.path.strip("/").split("/"):
        case [""]:
            return Answer(200, HTML, front(), PAGE_CACHE, CHANGED_WALL)
        case ["catalog"]:
            return Answer(200, HTML, shelf(), PAGE_CACHE, CHANGED_WALL)
        case ["catalog", slug] if slug in PRODUCTS:
            return Answer(200, HTML, product_page(slug), PAGE_CACHE, CHANGED_WALL)
        case ["images", name] if (picture := image(name)) is not None:
            return Answer(200, "image/svg+xml", picture, PICTURE_CACHE, CHANGED_WALL)
        case ["style.css"]:
            return Answer(200, "text/css; charset=utf-8", _file("pages/style.css"), PAGE_CACHE, CHANGED_WALL)
        case ["manual.txt"]:
            return Answer(200, "text/plain; charset=utf-8", manual(), PAGE_CACHE, CHANGED_WALL)
        case ["prices"]:
            return Answer(
                200, "text/event-stream", prices(_number(asked, "events", 10), _number(asked, "every_ms", 500))
            )
    return NOT_FOUND


@cache
def front() -> bytes:
    """The shop window."""
    return _fill("pages/front.html", shelf=_tiles())


@cache
def shelf() -> bytes:
    """Everything for sale, with its whole description."""
    articles = [
        f'<article id="{product.slug}"><a href="/catalog/{product.slug}"><img src="/images/{product.slug}.svg" alt="" width="240"'
        f' height="240" loading="lazy"></a><div><h2>{product.name}</h2><p class="line">{product.line}</p><p>{product.text}</p>'
        f'<form method="post" action="/orders"><input type="hidden" name="item" value="{product.slug}">'
        f"<button>Order for {_euros(product.cents)}</button></form></div></article>"
        for product in PRODUCTS.values()
    ]
    return _fill("pages/catalog.html", articles="\n".join(articles))


@cache
def product_page(slug: str) -> bytes:
    """One thing for sale. *slug* must be one of PRODUCTS."""
    product = PRODUCTS[slug]
    return _fill(
        "pages/product.html",
        slug=slug,
        name=product.name,
        line=product.line,
        text=product.text,
        price=_euros(product.cents),
        shelf=_tiles(but=slug),
    )


@cache
def manual() -> bytes:
    """A long text (about 1 MiB) for those who fetch it in parts."""
    chooser = random.Random(1)
    words = " ".join(product.text for product in PRODUCTS.values()).split()
    paragraphs = [" ".join(chooser.choices(words, k=90)) for _ in range(1900)]
    return "\n\n".join(f"{number}. {text}" for number, text in enumerate(paragraphs, 1)).encode()


def image(name: str) -> bytes | None:
    """Return the picture of a product, or None if there is none of that name."""
    slug, _dot, kind = name.partition(".")
    return _file(f"images/{slug}.svg") if slug in PRODUCTS and kind == "svg" else None


def prices(events: int, every_ms: int) -> Iterator[bytes]:
    """Tell a product's price again and again, as server-sent events."""
    pause = threading.Event()
    for number in range(events):
        product = random.choice(tuple(PRODUCTS.values()))
        cents = round(product.cents * random.uniform(0.9, 1.1))
        data = json.dumps({"item": product.slug, "cents": cents})
        yield f"id: {number}\nevent: price\ndata: {data}\n\n".encode()
        if number + 1 < events:
            pause.wait(every_ms / 1000)


def _tiles(but: str = "") -> str:
    return "\n".join(
        f'<a class="tile" href="/catalog/{product.slug}"><img src="/images/{product.slug}.svg" alt="" width="160" height="160">'
        f"<strong>{product.name}</strong><span>{_euros(product.cents)}</span></a>"
        for product in PRODUCTS.values()
        if product.slug != but
    )


def _number(asked: Asked, name: str, default: int) -> int:
    text = asked.query.get(name, [""])[0]
    return min(int(text), 10_000) if text.isdecimal() else default


def _euros(cents: int) -> str:
    return f"€ {cents // 100}.{cents % 100:02d}"


@cache
def _file(path: str) -> bytes:
    return files(__package__).joinpath(path).read_bytes()


def _fill(path: str, **parts: str) -> bytes:
    return Template(_file(path).decode()).substitute(parts).encode()
