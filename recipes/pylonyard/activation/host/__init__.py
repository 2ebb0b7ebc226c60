"""The machine that a release is laid over: its Apache, its files, who is trusted."""
