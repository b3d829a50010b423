"""
What the processes of one edge share: pages of memory, bells, claims, and the socket between master and child.

Decides the layout of every shared page and what may be written to it by whom. Refuses to know what the numbers
mean to the rooms above, and never reads a clock.

The rules that make pages without locks right:

- A *slot* is a row number. It belongs to exactly one living process, so a row has one writer; anybody may read it.
  The master gives slots out and takes them back when it has reaped their holder.
- Words written by several processes (:class:`~edge.share.stamps.Stamps`) are never counted up, only overwritten
  with a value that was never there before: two writers at once lose nothing that a reader relies on.
- Aligned words of four and eight bytes are read and written whole on every machine we run on.

Source: Varnish ``heritage.h``, Pitchfork ``shared_memory.rb``.
"""
