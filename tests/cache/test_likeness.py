"""Whether a reply is what its address looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cache.likeness import is_alike


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        (b"/a.css", b"text/css; charset=utf-8"),
        (b"/a.JPG", b"image/webp"),
        (b"/a.js?v=1", b"application/javascript"),
        (b"/a.mjs", b"Text/JavaScript"),
        (b"/a.woff2", b"font/woff2"),
        (b"/a.json", b"application/problem+json"),
        (b"/a.svg", b"image/svg+xml"),
        (b"/a.zip", b"application/zip"),
        (b"/a.tar.gz", b"application/gzip"),
        (b"/a.pdf", b"application/pdf"),
        (b"/a.docx", b"application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"/a.png", b"application/octet-stream"),
        (b"/account", b"text/html"),
        (b"/account/", b"text/html"),
        (b"/v1.2/account", b"text/html"),
        (b"/page.html", b"text/html"),
        (b"/page.php", b"text/html"),
        (b"/account?x=.css", b"text/html"),
        (b"/", None),
    ],
)
def test_what_keeps_its_promise(target, kind):
    assert is_alike(target, kind)


@pytest.mark.parametrize(
    "ending",
    [
        b".css",
        b"/x.css",
        b"/x.js",
        b"%2fx.png",
        b"%2Ejpg",
        b";x.css",
        b"%3bx.css",
        b"%23x.css",
        b"%3fx.css",
        b"%0Ax.css",
        b"%00x.css",
        b".css;x",
        b".css%3bx=y",
        b".css%00",
    ],
)
@pytest.mark.parametrize("kind", [b"text/html", b"text/html; charset=utf-8", b"application/xhtml+xml", None])
def test_a_page_behind_a_promise_is_unlike(ending, kind):
    assert not is_alike(b"/account" + ending, kind)


@given(st.binary(max_size=60), st.none() | st.binary(max_size=30))
def test_any_bytes_give_a_value(target, kind):
    assert is_alike(target, kind) in {True, False}
