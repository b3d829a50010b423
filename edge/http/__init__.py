"""
Bytes ⇄ events, sans-IO; one package per protocol version behind one :class:`~edge.http.connection.Connection`.

Decides what a message is: where it ends, whether it is well formed, how a reply is framed for the client that
asked. Refuses to know sockets, time, caching and who the origin is. A message that two readers could read
differently is not read leniently but refused: an origin only ever sees a canonical one.
Source: RFC 9110, RFC 9112.
"""
