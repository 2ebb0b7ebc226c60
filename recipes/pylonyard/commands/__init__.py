"""The commands of ``bin/pylonyard`` and ``bootstrap.py``: one module for each action."""
