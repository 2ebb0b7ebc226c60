"""Run ``bin/pylonyard lock``: write the lock, check it, or move some of what it has."""
