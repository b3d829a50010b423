"""
A small shop for the demo: catalog, login and orders, each an origin process of its own.

Plain HTTP/1.1 servers of the standard library, started as ``python -m edge.cli.shop``. They know nothing of the edge in
front of them: what may be kept, and how long, they say in their replies as any origin would.
"""
