"""From a release to the machine: what root lays over ``/etc``, and how it is undone.

The path of the data, one module a step::

    release folder --sources.read--> Release   (verified files, facts of the sites)
    target tree    --world.look----> World     (what is there now)
    both           --planning.plan-> Plan      (steps and notes; pure)
    Plan           --carrying-------> machine  (each step journalled before it is taken)
    its journal    --repair.of_ours-> Changes  (what it can have done if it was killed; pure)
"""

FOLDER = "/var/lib/pylonyard"
"""Where root notes what it did, of any sandbox."""
