"""
One request's journey through the rooms; the only place that knows their order.

receive → admit → route → key → look up → decide → [fetch → store] → encode → compose → send → settle

:mod:`~edge.exchange.recognise` does what depends on the head alone (admit, route, key) and is remembered with it;
:mod:`~edge.exchange.rooms` looks up; :mod:`~edge.exchange.decide` decides, as values; :mod:`~edge.exchange.send`
composes and sends what needs no waiting. Nothing here waits or touches a socket: both lanes call it and act on the same
decision.
"""
