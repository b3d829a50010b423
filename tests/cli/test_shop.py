"""The demo's shop behaves as origins do: what may be kept says so, what may not says so too."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.dom import minidom

import pytest

from edge.cli.shop import catalog, login
from edge.cli.shop.orders import Orders
from edge.cli.shop.server import Answer, Asked


def asked(path: str, method: str = "GET", *, cookies: dict[str, str] | None = None, **form: str) -> Asked:
    path, _, query = path.partition("?")
    pairs = dict(pair.split("=") for pair in query.split("&") if pair)
    return Asked(method, path, {k: [v] for k, v in pairs.items()}, cookies or {}, {k: [v] for k, v in form.items()})


def body(answer: Answer) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


@pytest.mark.parametrize("path", ["/", "/catalog/", "/catalog/lamp", "/style.css", "/manual.txt", "/images/clock.svg"])
def test_the_catalog_may_be_kept_and_has_validators(path: str) -> None:
    answer = catalog.page(asked(path))

    assert answer.status == 200
    assert answer.cache.startswith("public, max-age=")
    assert answer.changed_wall is not None
    assert len(body(answer)) > 1000


@pytest.mark.parametrize("path", ["/catalog/boat", "/images/boat.svg", "/images/lamp.png", "/images/", "/nothing"])
def test_what_is_not_for_sale_is_not_found(path: str) -> None:
    assert catalog.page(asked(path)).status == 404


@pytest.mark.parametrize("slug", catalog.PRODUCTS)
def test_every_product_has_a_page_a_picture_and_a_place_on_the_shelf(slug: str) -> None:
    page = body(catalog.page(asked(f"/catalog/{slug}"))).decode()
    picture = body(catalog.page(asked(f"/images/{slug}.svg")))

    assert catalog.PRODUCTS[slug].name in page
    assert "$" not in page
    assert minidom.parseString(picture).documentElement.tagName == "svg"
    assert f'href="/catalog/{slug}"' in body(catalog.page(asked("/catalog/"))).decode()


def test_prices_are_a_stream_of_events_nobody_may_keep() -> None:
    answer = catalog.page(asked("/prices?events=3&every_ms=0"))
    events = list(answer.body)

    assert ("text/event-stream", "no-store") == (answer.kind, answer.cache)
    assert len(events) == 3
    assert all(event.endswith(b"\n\n") for event in events)  # type: ignore[union-attr]


def test_prices_take_no_nonsense() -> None:
    assert len(list(catalog.prices(*(catalog._number(asked("/prices?events=x"), "events", 2), 0)))) == 2


def test_a_login_sets_a_cookie_and_is_never_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "SLOW_S", 0.0)
    form = login.page(asked("/login"))
    done = login.page(asked("/login", "POST", name="Ada L;"))

    assert form.cache == done.cache == "no-store"
    assert (303, ("Location", "/orders")) == (done.status, done.fields[0])
    assert done.fields[1][1].startswith("session=Ada%20L%3B.")
    assert "; Path=/; Secure" in done.fields[1][1]


def test_who_is_signed_in_is_told_to_the_edge_and_nobody_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "SLOW_S", 0.0)
    cookie = login.page(asked("/login", "POST", name="Ada L")).fields[1][1].partition(";")[0].removeprefix("session=")
    good = login.page(asked("/login/check", cookies={"session": cookie}))

    assert (204, [("X-User", "Ada%20L")]) == (good.status, good.fields)
    for other in ("", "root", "root." + cookie.rpartition(".")[2], cookie[:-1]):
        refused = login.page(asked("/login/check", cookies={"session": other}))
        assert (303, [("Location", "/login")]) == (refused.status, refused.fields)


def test_a_login_needs_a_name_and_shows_none_unescaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "SLOW_S", 0.0)

    assert login.page(asked("/login", "POST", name=" ")).status == 422
    assert b"<b>" not in body(login.page(asked("/login", cookies={"session": "<b>." + login._signature("<b>")})))
    assert login.page(asked("/elsewhere")).status == 404


def test_orders_taken_by_one_instance_are_seen_by_the_other(tmp_path: Path) -> None:
    one, two = Orders(tmp_path / "orders", "one"), Orders(tmp_path / "orders", "two")
    placed = one.page(replace(asked("/orders", "POST", item="lamp"), user="ada"))
    seen = json.loads(body(two.page(asked("/orders"))))

    assert placed.status == 201
    assert [json.loads(body(placed))] == seen["orders"]
    assert ("two", "ada", "one") == (seen["instance"], seen["orders"][0]["name"], seen["orders"][0]["taken_by"])


def test_orders_are_private_and_for_what_we_sell(tmp_path: Path) -> None:
    orders = Orders(tmp_path / "orders", "one")
    listed = orders.page(asked("/orders"))

    assert (200, "private, no-cache") == (listed.status, listed.cache)
    assert json.loads(body(listed))["orders"] == []
    assert orders.page(asked("/orders", "POST", item="boat")).status == 422
    assert orders.page(asked("/elsewhere")).status == 404


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[http.client.HTTPConnection]:
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli.shop", "catalog", "--name", "shelf"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin
    assert process.stdout
    connection = http.client.HTTPConnection("127.0.0.1", int(process.stdout.readline()), timeout=10)
    yield connection
    connection.close()
    process.stdin.close()

    assert process.wait(10) == 0
    process.stdout.close()


def fetch(
    shop: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    shop.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    reply = shop.getresponse()
    return reply, reply.read()


def test_a_shop_process_answers_conditions_and_heads_on_one_connection(shop: http.client.HTTPConnection) -> None:
    first, page = fetch(shop, "/catalog/")
    etag, changed = first.headers["ETag"], first.headers["Last-Modified"]

    assert len(page) == int(first.headers["Content-Length"])
    assert first.headers["X-Origin"].startswith("shelf pid=")
    assert (304, b"") == (lambda got: (got[0].status, got[1]))(fetch(shop, "/catalog/", If_None_Match=f'"x", W/{etag}'))
    assert fetch(shop, "/catalog/", If_Modified_Since=changed)[0].status == 304
    assert fetch(shop, "/catalog/", If_None_Match='"x"', If_Modified_Since=changed)[0].status == 200
    assert fetch(shop, "/catalog/", If_Modified_Since="yesterday")[0].status == 200

    head, nothing = fetch(shop, "/catalog/", "HEAD")
    assert (first.headers["Content-Length"], b"") == (head.headers["Content-Length"], nothing)
    assert fetch(shop, "/catalog/lamp")[0].status == 200


def test_a_shop_process_streams_in_chunks(shop: http.client.HTTPConnection) -> None:
    reply, events = fetch(shop, "/prices?events=2&every_ms=1")

    assert reply.headers["Transfer-Encoding"] == "chunked"
    assert events.count(b"event: price") == 2


def test_a_shop_process_reads_chunked_requests(shop: http.client.HTTPConnection) -> None:
    shop.request(
        "POST", "/nothing", body=iter([b"a=1", b"&b=2"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    reply = shop.getresponse()
    reply.read()

    assert reply.status == 404
    assert fetch(shop, "/catalog/lamp")[0].status == 200
