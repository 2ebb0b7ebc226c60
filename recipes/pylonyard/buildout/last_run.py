"""Why the last run of ``bin/buildout`` failed, for the doctor; standard library only."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PLACE = Path(".pylonyard", "failed.json")

VERSION = 1
"""Of what is noted; a reader takes this one and older ones."""


class Failure(NamedTuple):
    """What a run said last, and when, in local time."""

    text: str
    when: str


def note(directory: Path, text: str) -> None:
    """Note why a run in ``directory`` failed, if that is ours, and can be written."""
    # Imported here: a run with nothing to do has no use for it.
    from pylonyard.system import atomic

    with suppress(OSError):
        if directory.stat().st_uid == os.geteuid():
            values = {"version": VERSION, "text": text, "when": time.strftime("%Y-%m-%d %H:%M:%S")}
            atomic.write(directory / PLACE, json.dumps(values).encode(), 0o600)


def forget(directory: Path) -> None:
    """Have no failure be known: a run went well."""
    with suppress(OSError):
        os.unlink(directory / PLACE)


def failure(directory: Path) -> Failure | None:
    """Return how the last run failed; None if it did not, or nobody knows."""
    from pylonyard.system import json_objects
    from pylonyard.system.errors import PylonyardError
    from pylonyard.system.safe_files import read_plainly

    try:
        values = json_objects.parsed(read_plainly(directory / PLACE), VERSION)
        return Failure(str(values["text"]), str(values["when"]))
    except (OSError, PylonyardError, KeyError):
        return None
