"""
The origins: which server is asked, whether it is well, whether we may ask again, and what it is told.

Decides in values only: :mod:`~edge.origin.balance` picks a server, :mod:`~edge.origin.health` remembers who could
not be reached, :mod:`~edge.origin.pool` says which connection is used and which is closed, :mod:`~edge.origin.retry`
whether a failed attempt may be repeated, :mod:`~edge.origin.request` what the request looks like on its way there.
Refuses to know sockets, time and tasks: those are in ``worker/origin_exchange.py`` and what stands around it,
which ask these rooms.

Source: RFC 9110 §7, §9.2.2; RFC 9112 §9; RFC 9209 for the words of failure.
"""
