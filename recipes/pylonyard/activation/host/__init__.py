"""The machine that a release is laid over: its files, who is trusted, what it answers."""
