"""Keep the inputs of the last run of ``bin/buildout``, or why it failed, for the next.

A run that succeeds stores the state of everything that it read.  The next run compares it, before
zc.buildout is imported; if nothing has changed, it says so and ends.  In any other case buildout
runs as usual.  Why a run failed is kept for the doctor.

Standard library only, except for storing the state.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pylonyard.config.inputs import MEMORY, Watch, run_digest, state_digest
from pylonyard.system import safe_files

if TYPE_CHECKING:
    from pylonyard.config.layout import Layout
    from pylonyard.environments.cache_usage import Needs

OUR_RECIPES = "pylonyard:"


def report_unchanged(words: Sequence[str], directory: Path) -> bool:
    """Report that nothing has changed; return False if something has.

    :param words: the arguments of ``bin/buildout``
    """
    try:
        memory = safe_files.json_object((directory / MEMORY).read_bytes())
        if memory["called"] != run_digest(words, memory["variables"]):
            return False
        if memory["state"] != state_digest(memory["paths"], memory["trees"], memory["places"]):
            return False
        lines = [f"pylonyard: {line}" for line in [*memory["told"], *_next_steps(memory["next"])]]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    print("\n".join(lines))
    forget(directory)
    return True


def _next_steps(kept: Mapping[str, Any]) -> Iterable[str]:
    """Return the next steps in the present state."""
    if not kept:
        return ()
    # Imported here: it is not needed to store the state.
    from pylonyard.releases import next_steps

    served = [next_steps.SiteStart(**each) for each in kept["sites"]]
    return next_steps.next_lines(Path(kept["directory"]), int(kept["release"]), served)


def store(run: Any, watch: Watch | None, layout: "Layout", needs: Callable[[], "Needs"]) -> None:
    """Store the state of all inputs of ``run``, which has finished.

    Store nothing if some input cannot be compared later, such as what another recipe reads.

    :param needs: gives what the parts need of the cache
    :raises OSError: if it cannot be written
    """
    # Imported here: the next run only reads.
    from pylonyard.system.atomic import write

    if watch is None or not is_comparable(run):
        return
    base = layout.directory
    trees = [layout.parts, layout.bin, layout.current.resolve(), *needed_trees(needs(), layout)]
    # What runs tell each other is no input.
    ignored = (layout.cache / "verified", layout.cache / "users", Path.home() / ".cache")
    watch.seen = {path for path in watch.seen if not path.startswith(tuple(map(str, ignored)))}
    watch.seen |= {str(layout.current), str(layout.releases), str(base / ".installed.cfg")}
    watch.seen |= set(unaudited_paths(watch.variables))
    served = [layout.var / name for name in ("log", "data", "run")]
    memory = watch.memory(sys.argv[1:], _written(layout), trees, served)
    if memory is not None:
        write(base / MEMORY, (json.dumps(memory) + "\n").encode(), 0o600)


def is_comparable(run: Any) -> bool:
    """Return whether files show all inputs of a run."""
    base = run["buildout"]
    if base.get("extensions", "").split() or base.get("develop", "").split():
        return False
    if base["newest"] == "true" and base["offline"] != "true":
        return False
    sections = [run[name] for name in run._data]
    return all(s["recipe"].startswith(OUR_RECIPES) for s in sections if "recipe" in s) and not any(
        "://" in key.source for section in run._annotated.values() for key in section.values()
    )


def unaudited_paths(variables: Collection[str]) -> Iterator[str]:
    """Yield paths that a run reads without an audit event."""
    from pylonyard.system.subprocesses import PROGRAM_PATH

    yield from ("/etc/passwd", "/etc/group")
    yield from PROGRAM_PATH.split(os.pathsep)
    if "PATH" in variables:
        yield from filter(None, os.environ.get("PATH", "").split(os.pathsep))
    homes = (os.environ.get("BUILDOUT_HOME"), os.path.expanduser("~/.buildout"))
    yield from (os.path.join(home, "default.cfg") for home in homes if home)


def needed_trees(needs: "Needs", layout: "Layout") -> Iterator[Path]:
    """Yield the trees of the cache that ``needs`` names."""
    for name in needs.names:
        yield from (
            path for path in (layout.eggs / name, layout.environments / name) if path.is_dir()
        )
        yield from (layout.cache / "mod_wsgi").glob(name)
        yield from layout.projects.glob(f"*-{name}")


def _written(layout: "Layout") -> list[Path]:
    base = layout.directory
    return [
        *(layout.parts, layout.bin, layout.releases, layout.current, layout.var),
        *(layout.cache, layout.eggs, base / "develop-eggs", base / ".pylonyard"),
        base / ".installed.cfg",
    ]


# Why it failed.


PLACE = Path(".pylonyard", "failed.json")

VERSION = 1
"""The version of the file; older versions can be read."""


class Failure(NamedTuple):
    """The last message of a failed run, and its local time."""

    text: str
    when: str


def note(directory: Path, text: str) -> None:
    """Record why a run in ``directory`` failed, if the folder is ours and writable."""
    # Imported here: a run with nothing to do has no use for it.
    from pylonyard.system import atomic

    with suppress(OSError):
        if directory.stat().st_uid == os.geteuid():
            values = {"version": VERSION, "text": text, "when": time.strftime("%Y-%m-%d %H:%M:%S")}
            atomic.write(directory / PLACE, json.dumps(values).encode(), 0o600)


def forget(directory: Path) -> None:
    """Remove the record of a failure: a run has succeeded."""
    with suppress(OSError):
        os.unlink(directory / PLACE)


def failure(directory: Path) -> Failure | None:
    """Return how the last run failed; None if it did not, or it is not known."""
    from pylonyard.system.errors import PylonyardError
    from pylonyard.system.safe_files import read_plainly

    try:
        values = safe_files.json_object(read_plainly(directory / PLACE), VERSION)
        return Failure(str(values["text"]), str(values["when"]))
    except (OSError, PylonyardError, KeyError):
        return None
