"""Lock files (PEP 751), and the verified files that they name.

A file that differs is not used, and the run fails.  Where it can be moved, it goes to
``cache/refused``.  A good egg or environment takes its place at once; a file of the download
cache is downloaded again by the next run.  A bundle moves nothing, and a fetch downloads a good
file and goes on.  A run that finds nothing changed (``buildout/last_run``) ends before all of
this: it has compared the state of every input of the last run.

``recipes/pylons_app`` begins it.  It goes through ``files.LockedEggs`` for buildout's own
interpreter, and through ``environments/locked_venv`` for another.  ``sources``, ``develop``,
``extra-paths`` and ``provided`` are no part of a lock.  What builds ``sources``, beyond setuptools
and wheel, is in the dependency group ``pylock.BUILD_GROUP``, for buildout's own interpreter.

===================================  ====================================  ===================
When                                 What, against what                    In
===================================  ====================================  ===================
the lock is read                     its format, the interpreter, the      ``pylock``,
                                     pins and the requirements             ``files.Files``
a file is downloaded, or used from   its SHA-256, against the lock's       ``files.Files``
the cache
zc.buildout unpacks a wheel of what  its SHA-256, against the lock's       ``buildout/driver``
a lock names that this run has read
an egg is made of a wheel            the bytes that are unpacked, against  ``Verified``,
                                     the lock and the wheel's own RECORD   ``packages/wheels``
an egg that is there is used         its signature, against the one noted  ``Verified``
                                     when it was found equal to its
                                     wheel; if that differs, file by
                                     file, against the wheel
a wheel that was built here of a     its SHA-256, against the one noted    ``Verified``
locked source is used                when it was built
an environment of another            its signature, against the one noted  ``Verified``
interpreter is used                  when it was made; if that differs,
                                     each file but bytecode, against a
                                     list noted then
an environment of buildout's own     what it is made with: a few files     ``environments/``
interpreter is used                  and links                             ``eggs_venv``
a bundle is written                  the SHA-256 of each file, against     ``commands/bundle``
                                     the lock's
``bootstrap.py fetch --lock``        the SHA-256 of each file that the     ``commands/fetch``
                                     lock names; of others, the index's
===================================  ====================================  ===================

``Verified`` is in ``packages/integrity.py``.  ``pylock`` reads and writes the lock itself.
"""
