"""
What leaves the house: heads composed, conditions and ranges answered, copies made ready to send, error pages.

Decides how a reply looks once it is known *which* reply it is; refuses to know why that one (policy and cache say)
and how it reaches a socket (http and worker do). Values in, values out: no clock, no sockets, and never the
cache's own types, so that a reply from an origin, a stored copy and a page of ours take the same road.

Source: RFC 9110 (semantics), RFC 9111 §5.1 (Age), RFC 9211 (Cache-Status), RFC 9209 (Proxy-Status).
"""
