"""
An edge node: ends TLS, answers from a cache all its processes share, compresses once, forwards misses.

``JOURNEY.md`` beside this file walks one request through the rooms; the rooms are the folders here, in that order.
"""

__version__ = "0.1.0"
