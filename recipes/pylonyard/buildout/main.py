"""Start ``bin/buildout``: end at once if nothing has changed, else run buildout.

Standard library only, up to the moment at which the tools have been verified.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pylonyard.buildout import last_run
from pylonyard.config import configuration, inputs
from pylonyard.environments import tools
from pylonyard.system import relocation


def main(made: str = "") -> None:
    """Carry out the command line.

    :param made: the checkout for which this command was made
    """
    # Other accounts serve what is made here; what is secret has a mode of its own.
    os.umask(0o022)
    if made and (astray := relocation.found(Path(made), "buildout", sys.argv[0])):
        sys.exit(f"buildout: {astray.told}")
    # What a run with nothing to do has no use for is imported where it is needed.
    try:
        run()
    except KeyboardInterrupt:
        from pylonyard.system.errors import interrupted

        sys.exit(interrupted("buildout"))
    except Exception as error:
        from pylonyard.system import errors

        if line := errors.limit_reached(error):
            sys.exit(f"buildout: {line}")
        raise


def run() -> None:
    try:
        sys.argv[1:] = configuration.completed(sys.argv[1:], checkout())
    except configuration.MemoryDamaged as error:
        sys.exit(f"buildout: {error}")
    if last_run.answer(sys.argv[1:], checkout()):
        return
    watch = inputs.begin()
    check(sys.argv[1:])
    tools.bring()
    from pylonyard.buildout import driver

    driver.main(checkout(), watch)


def checkout() -> Path:
    """Return the checkout whose ``bin/buildout`` this process runs."""
    return Path(sys.argv[0]).resolve().parent.parent


def check(words: Sequence[str]) -> None:
    """Show the help, or refuse a command line in one line."""
    from pylonyard.system import command_line
    from pylonyard.system.errors import USAGE
    from pylonyard.system.safe_files import finish

    if "--help" in words:
        print(command_line.BUILDOUT, end="")
        sys.exit(finish("buildout", 0))
    if problem := command_line.buildout_error(words):
        print(f"buildout: {problem}; see bin/buildout --help", file=sys.stderr)
        sys.exit(USAGE)
