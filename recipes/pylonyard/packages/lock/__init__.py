"""Lock files (PEP 751), and the verified files that they name.

What a lock verifies, and against what.  Nothing that differs is used, and the run fails.  Where it
may be moved, it is set aside in ``cache/refused``, and a good one put in its place for the releases
that use it; a bundle moves nothing.  A run that finds nothing changed (``buildout/last_run``) ends
before all of this: it has compared the state of every file that the last run went by.

===================================  ====================================  ===================
When                                 What, against what                    In
===================================  ====================================  ===================
a file is brought, or used from the  its SHA-256, against the lock's       ``files.Files``
cache
zc.buildout unpacks a wheel of what  its SHA-256, against the lock's       ``buildout/driver``
a lock names that this run has read
an egg is made of a wheel            the bytes that are unpacked, against  ``eggs.LockedEggs``
                                     the lock and the wheel's own RECORD
an egg that is there is used         its signature, against the one noted  ``Verified``
                                     when it was found equal to its
                                     wheel; if that differs, file by
                                     file, against the wheel
a wheel that was built here of a     its SHA-256, against the one noted    ``Verified``
locked source is used                when it was built
an environment of another            each file, against the list noted     ``Verified``
interpreter is used                  when it was made
a bundle is written                  the SHA-256 of each file, against     ``commands/bundle``
                                     the lock's
``bootstrap.py fetch --lock``        the SHA-256 of each file, against     ``commands/fetch``
                                     the lock's
===================================  ====================================  ===================

``Verified`` is in ``packages/integrity.py``.  ``pylock`` reads and writes the lock itself.
"""
