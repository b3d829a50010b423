"""
May this reply be kept, may this copy be used, and where copies are.

Three kinds of module, never mixed:

- *policy*, pure: ``key`` and ``vary`` (what is the same request), ``ask`` (what a request says to a cache),
  ``policy`` (what an operator has ruled for a route), ``targeted`` and ``freshness`` (how long a reply is good), ``storing`` (may it be kept), ``lookup`` (may a copy be used),
  ``refresh`` (what a 304, a HEAD or an unsafe method does to copies), ``combine`` (may parts be put together), ``spans`` (which bytes
  are there, and what is asked for), ``purge`` (what an operator takes back), ``groups`` (what an origin does), ``evict`` (what
  goes first). Heads and numbers in, a decision with its reason out. None of them raises on any bytes a peer may send.
- *shapes*: ``copy``, what a stored reply is, and its encoding.
- *store*: LMDB, one environment for every process of the edge. ``store`` is what the others call, ``fill`` a body on its way in,
  ``records`` how both lie in the database, ``door`` who may open it and when it is trusted, ``parts`` a copy of which
  parts are there; ``upkeep`` and ``keeper``, the process
  that keeps it in bounds; ``audit``, whether all of it is true.

Refuses to know sockets, clocks, which route a request takes, and encodings' bytes. A reason not to store, to bypass or to miss
is an enum member whose value is the word in the log, in the metric and in ``Cache-Status``.

Where the cache-tests suite and an RFC disagree we follow the RFC:

- ``vary-normalise-lang-select``: a copy is reused for another ``Accept-Language`` only if both values mean the same
  (RFC 9111 §4.1), not because its ``Content-Language`` happens to be the client's first wish.
- ``conditional-lm-fresh-no-lm``: without ``Last-Modified`` a copy's ``Date`` is what ``If-Modified-Since`` is compared with (§4.3.2),
  and that is later than the date this test sends.
- ``cdn-max-age-case-insensitive``: keys of a structured dictionary are lower case (RFC 9651 §3.2).
- ``pragma-*``: ``Pragma`` says nothing to a cache any more (RFC 9111 §5.4).
- ``304-etag-update-response-ETag``: a 304 with another strong validator updates nothing (RFC 9111 §4.3.4).

Source: RFC 9110 §9, §12.5, §13, §15; RFC 9111; RFC 5861; RFC 8246; RFC 9211; RFC 9213; RFC 9875.
"""
