"""Whether anything has changed since the last run, asked before zc.buildout is imported.

A run that ends well keeps the state of all that it went by.  The next run compares; if all is
as it was, there is nothing to do, and it says so.  Anything else, or any doubt, is a whole run.

Standard library only.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pylonyard.system.inputs import MEMORY, called, state


def answer(words: Sequence[str], directory: Path) -> bool:
    """Tell that nothing has changed, if that is so; return whether it is.

    :param words: the arguments of ``bin/buildout``
    """
    try:
        memory = json.loads((directory / MEMORY).read_text(encoding="utf-8"))
        if memory["called"] != called(words, memory["variables"]):
            return False
        if memory["state"] != state(memory["paths"], memory["trees"], memory["places"]):
            return False
        told = [f"pylonyard: {line}" for line in memory["told"] + _next(memory["next"])]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    print("\n".join(told))
    if os.path.lexists(directory / ".pylonyard/failed.json"):
        from pylonyard.buildout import last_run

        last_run.forget(directory)
    return True


def _next(memory: dict[str, Any]) -> list[str]:
    """Return what to do next, as things are now."""
    if not memory:
        return []
    from pylonyard.releases import next_steps

    served = [next_steps.Served(**each) for each in memory["sites"]]
    directory = Path(memory["directory"])
    return list(next_steps.found(directory, int(memory["release"]), served))


def checkout() -> Path:
    """Return the checkout whose ``bin/buildout`` this process runs."""
    return Path(sys.argv[0]).resolve().parent.parent
