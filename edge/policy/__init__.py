"""
May this request pass, and where to.

``networks.py``, ``passwords.py``, ``tokens.py``, ``certificate.py``, ``forward_auth.py`` and ``identity.py`` say who somebody is and may;
``rate.py`` how often; ``cors.py`` what pages of other sites may do (``ACCESS.md`` tells operators). ``route.py`` says which route a request
takes, ``shadow.py`` which routes none takes, and ``split.py`` which of several origins is a client's; ``rewrite.py`` and ``fields.py`` say
what becomes of its path and of header fields on the way (``ROUTING.md`` tells operators). ``forwarded.py`` says who the client is
when it came through a proxy of ours. Values in, values out.

Refuses to know: configuration files, sockets, time, what an origin is.

Source: the Kubernetes Gateway API's HTTPRoute for what "most specific" means; RFC 7239 for ``Forwarded``.
"""
