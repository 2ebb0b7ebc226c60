"""Install a release in ``/etc`` as root, and undo that.

The path of the data, one module a step::

    release folder --releases.contents--> Release   (verified files, facts of the sites)
    target tree    --host.facts---------> World     (what is there now)
    both           --plan.plan----------> Plan      (steps and notes; pure)
    Plan           --apply--------------> machine   (each step journalled before it is taken)
    its journal    --journal------------> Changes   (what a killed run can have done; pure)
"""
