"""
What choosing a route costs (``edge/policy/route.py``).

Run ``pytest bench/micro/test_route.py``. Paid once per request head that is not remembered. The large table is a platform's:
a thousand hosts, a wildcard, three prefixes each; it must cost what the small one does.
"""

from __future__ import annotations

import pytest

from edge.config.tree import Route
from edge.message.head import RequestHead
from edge.policy.route import RouteTable

HEAD = RequestHead(b"GET", b"https", b"h", b"/", [])

SMALL = RouteTable(
    [
        Route(origin="a"),
        Route("shop.example", "/", "b"),
        Route("shop.example", "/api", "c"),
        Route("*.shop.example", "/", "d"),
    ]
)
LARGE = RouteTable(
    [Route(origin="a"), Route("*.platform.example", "/", "b")]
    + [Route(f"t{at}.example", path, "c") for at in range(1000) for path in ("/", "/api/v1", "/reports")]
)


@pytest.mark.parametrize(
    ("table", "host", "path"),
    [
        pytest.param(SMALL, b"shop.example", b"/", id="small-exact-root"),
        pytest.param(SMALL, b"shop.example", b"/api/v1/orders/17", id="small-exact-prefix"),
        pytest.param(SMALL, b"eu.shop.example", b"/catalog/item-1", id="small-wildcard"),
        pytest.param(SMALL, b"other.example", b"/catalog/item-1", id="small-any-host"),
        pytest.param(LARGE, b"t500.example", b"/api/v1/orders/17", id="large-exact-prefix"),
        pytest.param(LARGE, b"t500.example", b"/a/b/c/d/e/f/g", id="large-exact-deep"),
        pytest.param(LARGE, b"a.b.c.platform.example", b"/x", id="large-wildcard"),
        pytest.param(LARGE, b"h", b"/" * 8000, id="large-hostile"),
    ],
)
def test_finding_a_route(benchmark, table, host, path):
    # A loop inside the timer: one call is shorter than the timer's own.
    benchmark.pedantic(table.find, args=(host, path, HEAD), rounds=100, iterations=5000, warmup_rounds=5)
