"""
What we count and say: counters, metrics, the access log, the error log.

Decides how what happened is written down; refuses to know why it happened. Every exchange, whatever befell it, ends as
one :data:`~edge.observe.access_log.Entry` in the worker's :class:`~edge.observe.ledger.Ledger`, and one flush later it
is counted and logged. Cache outcomes are RFC 9211's tokens, faults RFC 9209's: the same word is the counter's label and
the log's field. Nothing here may fail an exchange: a log that cannot be written is dropped and counted.
"""
