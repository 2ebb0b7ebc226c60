"""The machine below us: files, locks, processes, sockets, other programs. Standard library only."""
