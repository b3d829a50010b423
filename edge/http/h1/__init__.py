"""
HTTP/1.1 and 1.0, both ends.

A head is read twice: one regular expression refuses whatever is not the grammar to the letter, then llhttp
(httptools) cuts it into fields and refuses what it finds wrong. A head must pass both. Bodies are read by
:mod:`edge.http.h1.body` and :mod:`edge.http.h1.chunked`. Source: RFC 9112.

What is refused although the RFC would let a server be lenient: line ends other than CRLF, folded lines, white space
before a colon, Content-Length together with Transfer-Encoding or more than once, more than one Host, a fragment or a
byte beyond ASCII in a target, any HTTP version but 1.0 and 1.1, and CONNECT and TRACE (501: this is no forward
proxy, and it does not echo what clients send).
"""
