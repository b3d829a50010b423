"""
Words every room uses: heads, header fields, cache-control, dates, validators, ranges, encodings;
the readings of a path, expressions and templates that operators write, places a redirect may lead to;
and the words before a connection's first (PROXY protocol).

Knows nothing of sockets, time or policy. Field names are lower-case bytes from the parser on, values are
stripped bytes; ``str`` begins at logs and configuration. Source: RFC 9110, RFC 9111 §5, RFC 8941.
"""
