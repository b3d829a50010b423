"""
Which replies are coded, and how the coded bytes are made.

Decides whether a reply gains by a content coding (:mod:`edge.compress.eligible`), makes the coding, whole or as a
stream, and says how much work that is (:mod:`edge.compress.encoder`). Refuses to know which coding a client wants
(:mod:`edge.message.encodings`), which variants exist (the cache), and where heavy work is done (the worker).

Source: RFC 9110 §8.4, RFC 1952 (gzip), RFC 7932 (br), RFC 8878 and RFC 9659 (zstd).
"""
