"""Files, locks, processes, sockets and other programs; standard library only."""
