"""
Requests that two readers may take for different ones: a corpus, and a seeded generator of as many as are wanted.

A generated message is put together from parts each of which has been a disguise somewhere (request lines, field lines,
bodies), or is a well-formed one with a few bytes changed. The same seed gives the same messages on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.fuzz.test_http1_smuggling import ONE_REQUEST, REFUSED, REFUSED_WHOLE, crlf, post

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

METHODS = (
    b"GET",
    b"POST",
    b"PUT",
    b"HEAD",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"get",
    b"FOO",
    b"foo",
    b"M-SEARCH",
    b"A" * 40,
    b"PRI",
    b"SOURCE",
    b"GE T",
    b"TRACE",
    b"CONNECT",
    b"G\tET",
    b"",
)
TARGETS = (
    b"/", b"/x", b"/x?y=z", b"*", b"http://a/x", b"http://b/x", b"HTTP://A/x", b"https://a:443/x", b"http://a", b"http://a?x",
    b"http://u@a/x", b"//b/x", b"/x#y", b"/x%20HTTP/1.1", b"/x HTTP/1.0", b"x", b"", b"/\x7f", b"/\xc3\xa9", b"/\x00", b"/a\tb",
    b"a:80", b"/./../x", b"/x;y", b"/%2e%2e/x", b"/\\x", b"http:/x", b"ftp://a/x", b"http://[::1]/x", b"http://a:/x", b"/|",
)  # fmt: skip
VERSIONS = (
    b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/01.1", b"HTTP/1.1 ", b"http/1.1",
    b"HTTP/1.1\t", b"HTTP/1,1", b"HTTP/+1.1", b"", b"HTTP/1.1 X", b"HTTP /1.1", b"HTTP/1.10", b"HTTP/1.\xb9",
)  # fmt: skip
GAPS = (b" ", b" ", b" ", b" ", b"  ", b"\t", b"\x0b", b"\x0c", b"\xa0", b"\r", b"")
ENDS = (
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\r\n",
    b"\n\r\n",
    b" \r\n",
    b"\r\n ",
    b"\x00\r\n",
    b"\x85",
)

HOSTS = (
    b"Host: a", b"Host: a", b"Host: a", b"Host: a", b"host:a", b"Host : a", b"Host:\ta", b"Host: A", b"Host: a:80", b"Host: a.", b"Host: b",
    b"Host: a\r\nHost: a", b"Host: a\r\nHost: b", b"Host: a, b", b"Host: a@b", b"Host: a/b", b"Host:", b"", b" Host: a", b"Host: a\r\n b",
    b"Host: [::1]", b"Host: a b", b"Host: a\x00", b"Host: a:0", b"Host: a:99999", b"Host: a:8x", b"Host: a#b", b"Ho\x00st: a", b"Host: a%41",
)  # fmt: skip
LENGTHS = (
    b"", b"0", b"5", b"05", b"+5", b"-5", b"5 ", b" 5", b"5,5", b"5, 6", b"0x5", b"5.0", b"5e0", b"5;", b"5\x00", b"5\x0b", b"1_0", b"\xd9\xa5",
    b"18446744073709551621", b"99999999999999999999", b"5\t", b"5\r\n 0", b'"5"', b"5,", b",5", b"4294967301", b"5\r", b"5\n0",
)  # fmt: skip
CODINGS = (
    b"chunked", b"chunked", b"Chunked", b"CHUNKED", b" chunked ", b"\tchunked", b"chunked,", b",chunked", b"chunked, chunked", b"identity",
    b"identity, chunked", b"chunked, identity", b"gzip, chunked", b"chunked;q=1", b"xchunked", b"chunkedx", b'"chunked"', b"chunked\x00",
    b"\x0bchunked", b"chunked\x0b", b"\x0cchunked", b"chunk", b"", b"chun\r\n ked", b"\r\n chunked", b"chunked\xa0", b"chun\xe9ked", b"chunke\xe4",
    b"'chunked'", b"chunked\r", b"chunked\nX: y", b"cow", b"x, chunked", b"chunked gzip", b"ch\xc5\xa9nked",
)  # fmt: skip
NAMES_OF_LENGTH = (
    b"Content-Length", b"Content-Length", b"Content-Length", b"content-length", b"Content-Length ", b" Content-Length", b"Content_Length",
    b"Content-Length\t", b"Content-Length\x00", b"Content\x00-Length", b"Content-Length\x0b", b"\tContent-Length", b"X: y\rContent-Length",
    b"X: y\nContent-Length", b"Content Length", b"Content-Length:", b"\x00Content-Length", b"Content-L\xc3\xa9ngth",
)  # fmt: skip
NAMES_OF_CODING = tuple(name.replace(b"Length", b"Encoding").replace(b"length", b"encoding").replace(b"Content", b"Transfer").replace(b"content", b"transfer") for name in NAMES_OF_LENGTH)  # fmt: skip
OTHERS = (
    b"Connection: close", b"Connection: keep-alive", b"Connection: content-length", b"Connection: transfer-encoding, close", b"Connection: host",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", b"Connection: upgrade\r\nUpgrade: websocket",
    b"Expect: 100-continue", b"Expect: 200-ok", b"Expect: 100-continue, x", b"X: y", b"X:", b": x", b"no colon", b"X y: z", b"X: y\r\n z",
    b"X: \x01", b"X: \x7f", b"X: \xff", b"X\xff: y", b"X(: y", b"TE: trailers", b"Trailer: Content-Length", b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive", b"X-HTTP-Method-Override: PUT", b"GET /smuggled HTTP/1.1", b"X: y\nZ: w", b"X: y\rZ: w", b"X: \0",
    b"Content-Encoding: gzip", b"Content-Type: text/plain", b"Range: bytes=0-1", b"Max-Forwards: 0", b"Cookie: a=b; c=d",
)  # fmt: skip
BODIES = (
    b"", b"hello", b"hello" + SMUGGLED, b"0\r\n\r\n", b"0\r\n\r\n" + SMUGGLED, b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    b"5;a=b\r\nhello\r\n0\r\n\r\n", b"5;a\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"0\n\n" + SMUGGLED, b"0\r\n\n" + SMUGGLED,
    b"0\n\r\n" + SMUGGLED, b"-1\r\n", b"FFFFFFFFFFFFFFFF0\r\n", b"100000005\r\nhello\r\n0\r\n\r\n", b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n", b"0\r\nContent-Length: 9\r\n\r\n", b"0\r\n" + SMUGGLED, b"0;\r\n\r\n", b"05\r\nhello\r\n00\r\n\r\n", b"5\r\nhello\r\n\r\n",
    b"5_0\r\nhello\r\n0\r\n\r\n", b'5;"\r\n"\r\nhello\r\n0\r\n\r\n', b"5\r\r\nhello\r\n0\r\n\r\n", b"5;x\ry\r\nhello\r\n0\r\n\r\n", b"5\t\r\nhello\r\n0\r\n\r\n",
    b"6\r\nhello\r\n0\r\n\r\n", b"4\r\nhello\r\n0\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n", b"5 ;x\r\nhello\r\n0\r\n\r\n", b"g\r\nhello\r\n0\r\n\r\n",
)  # fmt: skip
SCRAPS = (
    b"\r", b"\n", b"\0", b" ", b"\t", b":", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xa0", b"\xff", b",", b";", b"0", b"1", b"#", b"?", b"/", b"\r\n",
    b"\r\n ", b"\\", b'"', b"_", b"-", b"+", b"chunked", b"Host: b\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n",
)  # fmt: skip


def corpus() -> list[bytes]:
    """Return every disguise that has a name, and what must pass beside them."""
    return [
        *(post(rest) for rest in REFUSED.values()),
        *(crlf(wire) for wire in REFUSED_WHOLE.values()),
        *(post(rest) for rest, _ in ONE_REQUEST.values()),
    ]


def generated(seed: int, count: int) -> Iterator[bytes]:
    """Give *count* messages, the same for the same *seed*."""
    dice = Random(seed)
    for _ in range(count):
        yield _from_parts(dice) if dice.random() < 0.6 else _changed(dice)


ASPECTS = (
    "method",
    "target",
    "version",
    "gap",
    "end of line",
    "end of head",
    "ends",
    "host",
    "name",
    "value",
    "body",
    "order",
)
FITTING = {
    "none": (b"", b"", SMUGGLED),
    "length": (b"hello", b"hello", b"hello" + SMUGGLED, b"hell"),
    "chunked": (
        b"5\r\nhello\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
        b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    ),
    "both": BODIES,
}


def _from_parts(dice: Random) -> bytes:
    """Mostly one thing odd: a message with everything wrong is refused by everybody at its first byte."""
    odd = set(dice.sample(ASPECTS, dice.choice((0, 1, 1, 1, 1, 1, 2, 2, 3))))

    def pick(aspect: str, parts: tuple[bytes, ...], plain: bytes) -> bytes:
        return dice.choice(parts) if aspect in odd else plain

    framing = dice.choice(("none", "length", "length", "length", "chunked", "chunked", "chunked", "chunked", "both"))
    method = pick("method", METHODS, dice.choice((b"GET", b"POST", b"POST", b"PUT", b"DELETE")))
    line = method + pick("gap", GAPS, b" ") + pick("target", TARGETS, dice.choice((b"/x", b"/x?y=z")))
    line += pick("gap", GAPS, b" ") + pick("version", VERSIONS, b"HTTP/1.1")
    fields = [pick("host", HOSTS, b"Host: a")]
    if framing in {"length", "both"}:
        fields.append(pick("name", NAMES_OF_LENGTH, b"Content-Length") + b": " + pick("value", LENGTHS, b"5"))
    if framing in {"chunked", "both"}:
        fields.append(pick("name", NAMES_OF_CODING, b"Transfer-Encoding") + b": " + pick("value", CODINGS, b"chunked"))
    if "order" in odd or dice.random() < 0.3:
        fields.append(dice.choice(OTHERS))
        dice.shuffle(fields)
    end = pick("ends", ENDS, b"\r\n")
    head = line + pick("end of line", ENDS, b"\r\n") + b"".join(field + end for field in fields if field)
    return head + pick("end of head", ENDS, b"\r\n") + dice.choice(BODIES if "body" in odd else FITTING[framing])


def _changed(dice: Random) -> bytes:
    """A well-formed request with one to three scraps put in, put over, or bytes taken away."""
    body = dice.choice((b"", b"hello", SMUGGLED))
    if dice.random() < 0.5:
        wire = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nX: y\r\n\r\n%b" % (len(body), body)
    else:
        chunks = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
        wire = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n%b0\r\n\r\n" % chunks
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        at = dice.randrange(len(wire))
        what = dice.random()
        scrap = dice.choice(SCRAPS)
        if what < 0.5:
            wire = wire[:at] + scrap + wire[at:]
        elif what < 0.85:
            wire = wire[:at] + scrap + wire[at + len(scrap) :]
        else:
            wire = wire[:at] + wire[at + dice.choice((1, 1, 2)) :]
    return wire
