"""Which name a client asks for, however it is cut, and what is no hello at all."""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ClientGone
from edge.tls.hello import FRAGMENTS, HELLO_BYTES, NEED_DATA, NO_COMMON_PROTOCOL, Hello, NotTls, peek_hello, read_hello
from tests.tls.kit import hello_bytes


def vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def server_name(*names: bytes, kind: int = 0) -> tuple[int, bytes]:
    return 0, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names))


def made(*extensions: tuple[int, bytes], session: bytes = b"", suites: bytes = b"\x13\x01", tail: bytes = b"") -> bytes:
    """A hello's message, made by hand."""
    listed = b"".join(struct.pack("!H", kind) + vector(2, body) for kind, body in extensions)
    body = b"\x03\x03" + bytes(32) + vector(1, session) + vector(2, suites) + b"\x01\x00"
    return b"\x01" + vector(3, body + vector(2, listed) + tail)


def records(message: bytes, size: int = 16384) -> bytes:
    """A message in records of *size* bytes."""
    return b"".join(b"\x16\x03\x01" + vector(2, message[at : at + size]) for at in range(0, len(message), size))


def refused(data: bytes) -> str:
    """Why *data* is no hello; it must be known to be none."""
    found = read_hello(data)
    assert isinstance(found, NotTls)
    assert found.kind == "garbage"
    return found.detail


def test_openssls_own_hello_is_read() -> None:
    said = hello_bytes("shop.example", alpn=("h2", "http/1.1"), minimum_version=ssl.TLSVersion.TLSv1_2)

    assert Hello(b"shop.example", (b"h2", b"http/1.1"), (0x0304, 0x0303)) == read_hello(said)


def test_without_extensions_for_a_name_there_is_none() -> None:
    found = read_hello(hello_bytes(None))

    assert isinstance(found, Hello)
    assert None is found.server_name
    assert () == found.alpn


def test_a_tls_1_2_hello_says_its_version_in_its_head() -> None:
    found = read_hello(hello_bytes(maximum_version=ssl.TLSVersion.TLSv1_2))

    assert isinstance(found, Hello)
    assert (0x0303,) == found.versions


def test_a_hello_without_any_extensions_is_one() -> None:
    """They came with TLS 1.2's predecessors; OpenSSL decides whether such a client is good enough."""
    body = b"\x03\x03" + bytes(32) + b"\x00" + vector(2, b"\xc0\x2f") + b"\x01\x00"

    assert Hello(None, (), (0x0303,)) == read_hello(records(b"\x01" + vector(3, body)))


def test_a_hello_cut_at_every_byte_needs_more_and_then_is_the_same() -> None:
    whole = hello_bytes()
    expected = read_hello(whole)

    assert [NEED_DATA] * len(whole) == [read_hello(whole[:cut]) for cut in range(len(whole))]
    assert isinstance(expected, Hello)


@pytest.mark.parametrize("size", [8, 9, 13, 64, 511, 512])
def test_a_hello_over_several_records_is_the_same(size: int) -> None:
    """A name that is cut by a record border hides from those who look at one record only."""
    message = hello_bytes()[5:]

    assert read_hello(records(message)) == read_hello(records(message, size))
    assert isinstance(read_hello(records(message, size)), Hello)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_name_cut_into_small_records_is_found(size: int) -> None:
    """Also the four bytes that say how long the hello is may be cut."""
    start, rest = made(server_name(b"shop.example"))[: 10 * size], made(server_name(b"shop.example"))[10 * size :]

    assert Hello(b"shop.example", (), (0x0303,)) == read_hello(records(start, size) + records(rest))


def test_a_hello_in_very_many_records_is_refused() -> None:
    """Each byte that is sent has the whole read anew: a dripping client must not make that dear."""
    message = hello_bytes()[5:]

    assert isinstance(read_hello(records(message, -(-len(message) // FRAGMENTS))), Hello)
    assert f"a hello in over {FRAGMENTS} records" == refused(records(message, 1))


@pytest.mark.parametrize("size", [2, 5, 100])
def test_a_hello_over_several_records_cut_at_every_byte_needs_more(size: int) -> None:
    whole = records(made(server_name(b"shop.example")), size)

    assert [NEED_DATA] * len(whole) == [read_hello(whole[:cut]) for cut in range(len(whole))]


def test_what_follows_the_hello_is_not_looked_at() -> None:
    assert read_hello(hello_bytes()) == read_hello(hello_bytes() + b"\xff" * 100)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"Shop.EXAMPLE", b"shop.example"),
        (b"shop.example.", b"shop.example"),
        (b"xn--bcher-kva.example", b"xn--bcher-kva.example"),
        (b"my_shop.example", b"my_shop.example"),
        (b"localhost", b"localhost"),
        (b"192.0.2.1", b"192.0.2.1"),
        (b"a" * 63 + b".example", b"a" * 63 + b".example"),
    ],
)
def test_a_name_is_read_in_lower_case_without_its_last_dot(sent: bytes, read: bytes) -> None:
    found = read_hello(records(made(server_name(sent))))

    assert isinstance(found, Hello)
    assert read == found.server_name


@pytest.mark.parametrize(
    "name",
    [b"", b".", b"..", b"a..b", b".a", b"a b", b"a\0.example", b"a\n", b"-a", b"a-.b", b"*.a", b"a/b", b"\xc3\xa4.example",
     b"a" * 64, b"a." * 127 + b"bc", b"[::1]", b"a:443"],
)  # fmt: skip
def test_what_is_no_host_name_is_no_name(name: bytes) -> None:
    """A name that OpenSSL, a log and a table could each read differently is not passed on to any."""
    assert Hello(None, (), (0x0303,)) == read_hello(records(made(server_name(name))))


def test_a_second_name_is_refused() -> None:
    """Of two names, one would choose the context and the other could be checked."""
    refused(records(made(server_name(b"open.example", b"guarded.example"))))


def test_a_name_of_another_type_is_refused() -> None:
    refused(records(made(server_name(b"shop.example", kind=1))))


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (made(server_name(b"a"), server_name(b"a")), "extension 0 twice"),
        (made((0, b"")), "a length that points outside"),
        (made((0, vector(2, b""))), "a server name that is no host name"),
        (made((0, vector(2, b"\0" + vector(2, b"a")) + b"x")), "bytes behind an extension's list"),
        (made((16, b"")), "a length that points outside"),
        (made((16, vector(2, b""))), "no protocol name"),
        (made((16, vector(2, b"\0"))), "an empty protocol name"),
        (made((43, vector(1, b"\x03"))), "versions of odd length"),
        (made((43, vector(1, b""))), "versions of odd length"),
        (made(tail=b"x"), "bytes behind the extensions"),
        (made(suites=b""), "cipher suites of odd length"),
        (made(suites=b"\x13"), "cipher suites of odd length"),
        (made(session=bytes(33)), "a session id of more than 32 bytes"),
        (b"\x01" + vector(3, b"\x03\x03" + bytes(32) + b"\x00" + vector(2, b"\x13\x01") + b"\x00"), "no compression method, not even null"),
        (b"\x01" + vector(3, b"\x03\x03" + bytes(20)), "no hello of SSL 3 or later"),
        (b"\x01" + vector(3, b"\x02\x00" + bytes(50)), "no hello of SSL 3 or later"),
        (b"\x02" + vector(3, bytes(50)), "a handshake that does not begin with a hello"),
        (b"\x01" + (HELLO_BYTES + 1).to_bytes(3, "big"), f"a hello of {HELLO_BYTES + 5} bytes"),
    ],
)  # fmt: skip
def test_a_malformed_hello_is_refused_with_the_reason(message: bytes, why: str) -> None:
    assert why == refused(records(message))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x16\x02\x00\x00\x05hello", "not a handshake record"),
        (b"\x16\x03\x01\x00\x00", "a record of 0 bytes"),
        (b"\x16\x03\x01\x40\x01", "a record of 16385 bytes"),
        (b"\x16\x03\x01\x00\x01\x01\x17\x03\x03\x00\x01\x01", "not a handshake record"),
        (b"\x16\x03\x01\x00\x01\x01\x17", "another record within the hello"),
        (b"\x80\x2e\x01\x03\x01", "begins with 802e010301"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "begins with 15030100020228"),
        (b"\x00", "begins with 00"),
        (b"SSH-2.0-OpenSSH", "begins with 5353482d322e302d"),
        (b"get / HTTP/1.1", "begins with 676574202f204854"),
    ],
)  # fmt: skip
def test_other_bytes_are_garbage(data: bytes, why: str) -> None:
    assert why == refused(data)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n", b"OPTIONS *"]
)
def test_plain_http_is_recognised(data: bytes) -> None:
    """People type http://host:443; they are told so in words they can read."""
    assert NotTls("http") == read_hello(data)


def test_the_beginning_of_a_method_waits_for_the_rest() -> None:
    assert [NEED_DATA] * 4 == [read_hello(b"GET / HTTP/1.1"[:cut]) for cut in range(1, 5)]


def test_letters_without_an_end_are_garbage() -> None:
    assert "begins with 4141414141414141" == refused(b"A" * 17)


def test_a_hello_that_never_ends_is_refused_at_the_limit() -> None:
    """Record headers count too: what is waited for always fits into one peek."""
    endless = records(b"\x01" + (HELLO_BYTES - 4).to_bytes(3, "big") + bytes(HELLO_BYTES - 4), 1024)[:HELLO_BYTES]

    assert f"a hello over {HELLO_BYTES} bytes" == refused(endless)
    assert NEED_DATA is read_hello(endless[:-1])


@given(st.binary(max_size=300))
def test_any_bytes_give_a_value(data: bytes) -> None:
    """Never an exception: nothing a client sends before its first handshake reaches a log as a bug."""
    assert isinstance(read_hello(data), Hello | NotTls) or read_hello(data) is NEED_DATA
    assert isinstance(read_hello(b"\x16\x03\x01" + vector(2, data)), Hello | NotTls) or data[:1] in (b"", b"\x01")


@given(st.data())
def test_a_hello_with_a_changed_byte_gives_a_value(data: st.DataObject) -> None:
    whole = bytearray(hello_bytes(alpn=("http/1.1",)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))

    found = read_hello(bytes(whole))

    assert isinstance(found, Hello | NotTls) or found is NEED_DATA


def test_who_names_no_protocol_speaks_any() -> None:
    assert Hello(None, (), ()).speaks(b"http/1.1")


def test_who_names_protocols_speaks_those() -> None:
    assert Hello(None, (b"h2", b"http/1.1"), ()).speaks(b"http/1.1")
    assert not Hello(None, (b"h2", b"ftp"), ()).speaks(b"http/1.1")


def test_the_alert_for_no_common_protocol_is_understood() -> None:
    """An alert in the clear, before a handshake, is what OpenSSL expects there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="shop.example")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    incoming.write(NO_COMMON_PROTOCOL)

    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        tls.do_handshake()


def test_peeking_takes_nothing() -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        theirs.setblocking(False)
        assert NEED_DATA is peek_hello(theirs)
        whole = hello_bytes()
        ours.send(whole[:100])
        assert NEED_DATA is peek_hello(theirs)
        ours.send(whole[100:])
        found = peek_hello(theirs)

        assert isinstance(found, Hello)
        assert whole == theirs.recv(4096)


def test_peeking_at_a_client_that_left_says_so() -> None:
    ours, theirs = socket.socketpair()
    with closing(theirs):
        ours.close()

        with pytest.raises(ClientGone, match="closed before a hello"):
            peek_hello(theirs)


def test_peeking_at_a_broken_connection_is_the_clients_going() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()

    with pytest.raises(ClientGone, match="OSError"):
        peek_hello(theirs)
