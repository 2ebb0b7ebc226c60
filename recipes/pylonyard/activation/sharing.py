"""Modes of what a site's account has, set and set back as that account.

Root's own rights are not used: the account could have put a link there.
"""

import os
import stat
from collections.abc import Iterable
from itertools import groupby, islice
from pathlib import Path

from pylonyard.activation.effects import Effects
from pylonyard.activation.steps import Share
from pylonyard.activation.tree import Tree
from pylonyard.running import run

AT_ONCE = 500
"""Paths in one command."""


def share(tree: Tree, step: Share) -> None:
    """Set the modes that ``step`` says."""
    missing = [tree.path(str(path)) for path, before, _ in step.modes if before is None]
    if missing:
        run(["touch", *missing], "touch", account=step.user)
    _set(step.user, ((mode, tree.path(str(path))) for path, _, mode in step.modes))


def undo_modes(tree: Tree, effects: Effects) -> None:
    """Set each mode back that is still as we left it; remove what we made, if it is empty."""
    changes = reversed(list(effects.modes.items()))
    for user, group in groupby(changes, key=lambda change: change[1][0]):
        found = [(tree.path(path), before, after) for path, (_, before, after) in group]
        for path, before, _ in found:
            if before is None:
                _remove_empty(path, user)
        _set(user, ((b, path) for path, b, after in found if b is not None and _has(path, after)))


def _has(path: Path, mode: int) -> bool:
    try:
        return stat.S_IMODE(path.lstat().st_mode) == mode
    except OSError:
        return False


def _remove_empty(path: Path, user: str) -> None:
    try:
        status = path.lstat()
        is_empty = not os.listdir(path) if stat.S_ISDIR(status.st_mode) else status.st_size == 0
    except OSError:
        return
    if is_empty:
        command = "rmdir" if stat.S_ISDIR(status.st_mode) else "rm"
        run([command, path], command, account=user)


def _set(user: str, wanted: Iterable[tuple[int, Path]]) -> None:
    for mode, group in groupby(sorted(wanted), key=lambda pair: pair[0]):
        paths = (path for _, path in group)
        while batch := list(islice(paths, AT_ONCE)):
            # With four digits it would leave the set-group-ID bit of a folder.
            run(["chmod", f"{mode:05o}", *batch], "chmod", account=user)
