"""
Names, certificates, contexts, and a stream that tries now and never waits.

Decides which certificate a hello is answered with, which ciphers and versions are spoken, and when a peer's
certificate is asked for. Refuses to know HTTP, routes and trio: a stream gives bytes, takes bytes, and says when
it would have to wait. Source: RFC 8446, RFC 5246, RFC 6066 §3 (server names), RFC 9325 (recommendations).
"""
