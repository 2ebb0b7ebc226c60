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
    place = directory / PLACE
    with suppress(OSError):
        if directory.stat().st_uid != os.geteuid():
            return
        place.parent.mkdir(exist_ok=True)
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        values = {"version": VERSION, "text": text, "when": time.strftime("%Y-%m-%d %H:%M:%S")}
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            json.dump(values, stream)
        draft.replace(place)


def forget(directory: Path) -> None:
    """Have no failure be known: a run went well."""
    with suppress(OSError):
        os.unlink(directory / PLACE)


def failure(directory: Path) -> Failure | None:
    """Return how the last run failed; None if it did not, or nobody knows."""
    from pylonyard.system.errors import ServerError
    from pylonyard.system.safe_files import read_plainly

    try:
        values = json.loads(read_plainly(directory / PLACE))
        if int(values["version"]) > VERSION:
            return None
        return Failure(str(values["text"]), str(values["when"]))
    except (OSError, ServerError, ValueError, KeyError, TypeError, RecursionError):
        return None
