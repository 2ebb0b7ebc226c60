"""Recipes that put PasteDeploy applications into production with zc.buildout.

The path of the data, one module a step::

    buildout section --recipes.base.parse----> Options         (typed, frozen)
    Options          --recipes.<recipe>------> Artifact, Link  (pure)
    Artifact, Link   --system.atomic.stage---> parts/<part>/   (what this run rendered)
    parts/*          --recipes.release-------> releases/<n>/   (whole, checked by real programs)
    releases/<n>     --releases.store.make_current--> current (one rename: this is live)

A recipe's module is named like its entry point: start reading there.  What one
may build on without reading further: ``recipes.base`` (buildout's protocol),
``packages.zc_installer`` (zc.buildout's installer), ``system.subprocesses`` (other programs).

A folder is a room; CONTRIBUTING.md says what each is for.  Modules outside the rooms are
kept for scripts and records that were made before there were rooms.
"""

import os
import sys

if os.geteuid() == 0 and os.stat(__file__).st_uid != 0:
    # What root leaves in another's checkout, its owner could not remove.
    sys.dont_write_bytecode = True

__version__ = "0.1.0"
