"""
Sockets that clients connect to: opened, inherited, shared out, given up.

Decides which sockets an address needs, how connections are spread over the workers, and when a socket may be closed
without losing a connection. Refuses to know what is said on them, and who the workers are: it counts places.

For every TCP address we open there is one ``SO_REUSEPORT`` queue per place, all kept by the master and lent to
whoever holds the place. An epoll that is nested in another one ignores ``EPOLLEXCLUSIVE``, so a shared queue would
wake every worker for every connection. A queue outlives its worker: what is pending in it waits for the next one.
Sockets that systemd opened and unix sockets are shared by all workers.

Source: socket(7) SO_REUSEPORT, SO_ATTACH_REUSEPORT_CBPF; sd_listen_fds(3); nginx ``listen … reuseport``.
"""
