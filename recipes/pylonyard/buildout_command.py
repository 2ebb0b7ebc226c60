"""``bin/buildout``: at once if nothing has changed; else our zc.buildout, on verified tools.

Standard library only, up to the moment at which the tools have been verified.
"""

import os
import sys
from pathlib import Path

from pylonyard import configuration, settled, toolbox


def main() -> None:
    """Do what the command line asks."""
    # Other accounts serve what is made here; what is secret has a mode of its own.
    os.umask(0o022)
    try:
        sys.argv[1:] = configuration.completed(sys.argv[1:], checkout())
    except configuration.MemoryDamaged as error:
        sys.exit(f"buildout: {error}")
    if settled.answer(sys.argv[1:], checkout()):
        return
    settled.begin()
    toolbox.bring()
    from pylonyard import tool

    tool.main()


def checkout() -> Path:
    """Return the checkout whose ``bin/buildout`` this process runs."""
    return Path(sys.argv[0]).resolve().parent.parent
