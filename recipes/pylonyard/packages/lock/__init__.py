"""Lock files (PEP 751), and the verified files that they name.

A file that differs from the lock is not used, and the run fails.  Where it
can be moved, it goes to ``cache/refused``, and a good one takes its place for the releases
that use it; a bundle moves nothing.  A run that finds nothing changed (``buildout/last_run``) ends
before all of this: it has compared the state of every input of the last run.

===================================  ====================================  ===================
When                                 What, against what                    In
===================================  ====================================  ===================
a file is brought, or used from the  its SHA-256, against the lock's       ``files.Files``
cache
zc.buildout unpacks a wheel of what  its SHA-256, against the lock's       ``buildout/driver``
a lock names that this run has read
an egg is made of a wheel            the bytes that are unpacked, against  ``files.LockedEggs``
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
