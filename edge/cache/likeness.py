"""
Whether a reply is what its address looks like.

An application that ignores the end of a path answers ``/account/x.css`` with the account's page. Whoever gets somebody to
follow such a link, and a cache to keep "a style sheet", reads that page afterwards (web cache deception). We keep by the origin's
word, never by how an address ends; but an origin that says ``max-age`` of all that ends in ``.css`` is deceived for us.
Where a route asks for it, a reply is kept only if its type is one that the address's ending promises.

Decides that by path and type alone. An ending that promises nothing is at peace with every type; so is ``application/octet-stream``,
as which origins send what they do not know, and browsers show nothing.

Invariant: never raises.
Source: Omer Gil, "Web cache deception attack", 2017; Mirheidari et al., "Cached and confused", 2020 (path confusion by %3B, %23,
%3F, %0A); Cloudflare's Cache Deception Armor.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_IMAGE, _FONT, _AUDIO, _VIDEO, _TEXT, _SCRIPT = (
    rb"image/.+",
    rb"font/.+|application/(?:x-)?font-.+|application/vnd\.ms-fontobject",
    rb"audio/.+|application/ogg",
    rb"video/.+|application/(?:mp4|ogg|vnd\.apple\.mpegurl|dash\+xml)",
    rb"text/plain",
    rb"(?:text|application)/(?:x-)?(?:java|ecma)script",
)
_ARCHIVE: Final = rb"application/.*(?:zip|tar|rar|7z|compressed|gzip|bzip2?|xz|zstd|archive|diskimage|package|msi|msdownload|x-dosexec).*"
_OFFICE: Final = rb"application/(?:msword|vnd\.(?:ms-|openxmlformats-|oasis\.).+|rtf|pdf|postscript|epub\+zip)"

_PROMISED: Final = {
    ending: re.compile(rb"application/octet-stream|" + types)
    for endings, types in (
        (b"bmp gif ico jpg jpeg jxl avif png svg svgz tif tiff webp pict", _IMAGE),
        (b"eot otf ttf woff woff2", _FONT),
        (b"mid midi mp3 flac ogg oga opus wav m4a aac", _AUDIO),
        (b"avi mkv mp4 m4v mpg mpeg mov webm ogv wmv flv m3u8", _VIDEO),
        (b"css", rb"text/css"),
        (b"js mjs cjs", _SCRIPT),
        (b"map", rb"application/json|" + _SCRIPT),
        (b"json", rb"(?:application|text)/(?:.+\+)?json"),
        (b"wasm", rb"application/wasm"),
        (b"txt", _TEXT),
        (b"csv", rb"text/csv|" + _TEXT),
        (b"xml", rb"(?:application|text)/(?:.+\+)?xml"),
        (b"7z bz2 dmg gz iso jar rar tar tgz xz zip zst apk exe msi deb rpm bin class dll", _ARCHIVE),
        (b"doc docx odt pdf ppt pptx ps rtf xls xlsx epub", _OFFICE),
        (b"swf", rb"application/.*flash.*"),
    )
    for ending in endings.split()
}
_ENDING = re.compile(rb"\.([A-Za-z0-9]{1,5})$")
_CUT = re.compile(rb"[;#?\0\r\n]")


def is_alike(target: bytes, content_type: bytes | None) -> bool:
    """
    Whether a reply of *content_type* may be what *target* promises by its ending.

    Args:
        target: as the origin was asked: ``/path?query``.
        content_type: as the origin said it; None keeps no promise.
    """
    path = unquote_to_bytes(target.partition(b"?")[0])
    # What one reader takes for the whole path, another cuts: each of the two endings is a promise.
    for name in {path, _CUT.split(path, maxsplit=1)[0]}:
        found = _ENDING.search(name)
        promised = None if found is None else _PROMISED.get(found[1].lower())
        if promised is not None and not promised.fullmatch((content_type or b"").partition(b";")[0].strip().lower()):
            return False
    return True
