"""
Words every room uses: heads, header fields, cache-control, dates, validators, ranges, encodings;
and the words before a connection's first (PROXY protocol).

Knows nothing of sockets, time or policy. Field names are lower-case bytes from the parser on, values are
stripped bytes; ``str`` begins at logs and configuration. Source: RFC 9110, RFC 9111 §5, RFC 8941.
"""
