"""``bin/pylonyard`` and the like: one module an action."""
