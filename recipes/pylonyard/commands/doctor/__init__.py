"""``bin/pylonyard doctor``: why the site is down, and what to do.

A check is a generator: it gets a ``Subject`` (one site) and yields findings (``check``).
``command`` has the table of all; each is known by the name in its findings.
"""
