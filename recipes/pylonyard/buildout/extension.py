"""The extension ``pylonyard``: add our profile below a configuration, and our checks.

zc.buildout loads its extensions when it has read the configuration and installed nothing.
Ours has the run begin anew in the same process, as ``bin/buildout`` of a checkout does it: the
profile is read first, so that all that the user says wins over it, as with ``extends``.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from pylonyard.buildout import last_run
from pylonyard.config import inputs, layout

UNGUARDED = (
    "zc.buildout and its tools are used as they were installed: they are not compared with "
    "recorded digests, as by the bin/buildout that bootstrap.py makes"
)


def load(run: Any) -> None:
    """Do what ``bin/buildout`` does, and end this process with its exit status.

    :param run: the ``zc.buildout.buildout.Buildout`` that loads its extensions
    """
    if getattr(run, "profile", None):
        return  # It is the run that was begun anew.
    directory = Path(run["buildout"]["directory"])
    os.umask(0o022)
    if last_run.answer(sys.argv[1:], directory):
        sys.exit()
    watch = inputs.begin()
    # The files of these were opened before anybody took notes.
    modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    watch.seen.update(os.path.abspath(file) for file in modules if file)
    for log in (logging.getLogger(), run._logger):
        log.handlers.clear()  # the run that begins anew has its own
    _forget_eggs(run["buildout"]["eggs-directory"])
    from pylonyard.buildout import driver

    if not (directory / ".pylonyard").exists():
        print(f"pylonyard: {UNGUARDED}.", flush=True)
    driver.main(directory, watch, layout.profile())
    sys.exit()


def _forget_eggs(folder: str) -> None:
    """Have this process forget the eggs in a folder of zc.buildout: those of other extensions.

    The run that begins anew installs them again, as the profile may name another folder, and
    would load each extension twice.
    """
    from zc.buildout.easy_install import pkg_resources

    working_set = pkg_resources.working_set
    for location in [one for one in working_set.entries if Path(one).is_relative_to(folder)]:
        working_set.entries.remove(location)
        for key in working_set.entry_keys.pop(location):
            working_set.by_key.pop(key, None)
        if location in sys.path:
            sys.path.remove(location)
