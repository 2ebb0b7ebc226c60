"""Recipes that put PasteDeploy applications into production with zc.buildout.

The path of the data, one module a step::

    buildout section --options.parse-->   Options         (typed, frozen)
    Options          --<recipe module>--> Artifact, Link  (pure)
    Artifact, Link   --writing.stage-->   parts/<part>/   (what this run rendered)
    parts/*          --release-->         releases/<n>/   (whole, checked by the real programs)
    releases/<n>     --releases.flip-->   current         (one rename: this is live)

A recipe's module is named like its entry point: start reading there.  What one
may build on without reading further: ``recipe`` (buildout's protocol),
``eggs`` (zc.buildout's installer), ``running`` (other programs).
"""

import os
import sys

if os.geteuid() == 0 and os.stat(__file__).st_uid != 0:
    # What root leaves in another's checkout, its owner could not remove.
    sys.dont_write_bytecode = True

__version__ = "0.1.0"
