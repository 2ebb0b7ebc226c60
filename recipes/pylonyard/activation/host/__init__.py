"""The machine of an activation: its files, trusted accounts, and answers."""
