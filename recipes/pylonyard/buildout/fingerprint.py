"""What a run that ended well keeps, for the next to see that nothing has changed."""

import json
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pylonyard.buildout.up_to_date import checkout
from pylonyard.config.layout import Layout
from pylonyard.environments import cache_usage
from pylonyard.environments.cache_usage import Needs
from pylonyard.system import inputs
from pylonyard.system.atomic import write
from pylonyard.system.subprocesses import PROGRAM_PATH

OUR_RECIPES = "pylonyard:"


def keep(run: Any, layout: Layout) -> None:
    """Keep the memory of ``run``, a finished one of zc.buildout.

    Whatever cannot be compared later, as what other recipes do, makes none.

    :raises OSError: if it cannot be written
    """
    watch = inputs.watching()
    if watch is None or not is_comparable(run):
        return
    base = layout.directory
    stores = cache_usage.Stores(layout.cache, layout.eggs)
    trees = [layout.parts, layout.bin, layout.current.resolve()]
    trees += needed(cache_usage.needs(base, stores, ["parts"]), layout)
    # What runs tell each other is no input.
    told = (layout.cache / "verified", layout.cache / "users", Path.home() / ".cache")
    watch.seen = {path for path in watch.seen if not path.startswith(tuple(map(str, told)))}
    watch.seen |= {str(layout.current), str(layout.releases), str(base / ".installed.cfg")}
    watch.seen |= set(unseen(watch.variables))
    served = [layout.var / name for name in ("log", "data", "run")]
    memory = watch.memory(sys.argv[1:], _written(layout), trees, served)
    if memory is not None:
        write(checkout() / inputs.MEMORY, (json.dumps(memory) + "\n").encode(), 0o600)


def is_comparable(run: Any) -> bool:
    """Tell whether all that a run goes by shows in its files."""
    base = run["buildout"]
    if base.get("extensions", "").split() or base.get("develop", "").split():
        return False
    if base["newest"] == "true" and base["offline"] != "true":
        return False
    sections = [run[name] for name in run._data]
    return all(s["recipe"].startswith(OUR_RECIPES) for s in sections if "recipe" in s) and not any(
        "://" in key.source for section in run._annotated.values() for key in section.values()
    )


def unseen(variables: Collection[str]) -> Iterator[str]:
    """Yield what a run looks at, though Python tells nobody."""
    yield from ("/etc/passwd", "/etc/group")
    yield from PROGRAM_PATH.split(os.pathsep)
    if "PATH" in variables:
        yield from filter(None, os.environ.get("PATH", "").split(os.pathsep))
    homes = (os.environ.get("BUILDOUT_HOME"), os.path.expanduser("~/.buildout"))
    yield from (os.path.join(home, "default.cfg") for home in homes if home)


def needed(needs: Needs, layout: Layout) -> Iterator[Path]:
    """Yield the trees of the cache that ``needs`` names."""
    for name in needs.names:
        yield from (path for path in (layout.eggs / name, layout.sandboxes / name) if path.is_dir())
        yield from (layout.cache / "mod_wsgi").glob(name)
        yield from layout.projects.glob(f"*-{name}")


def _written(layout: Layout) -> list[Path]:
    base = layout.directory
    return [
        *(layout.parts, layout.bin, layout.releases, layout.current, layout.var),
        *(layout.cache, layout.eggs, base / "develop-eggs", base / ".pylonyard"),
        base / ".installed.cfg",
    ]
