"""Modes of what a site's account has, set and set back as that account.

Root's own rights are not used: the account could have put a link there.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path

from pylonyard.activation.effects import Effects
from pylonyard.activation.steps import Share
from pylonyard.activation.tree import Tree
from pylonyard.errors import CommandError
from pylonyard.running import run

AT_ONCE = 500
"""Paths in one command."""


def share(tree: Tree, step: Share) -> None:
    """Set the modes that ``step`` says."""
    missing = [tree.path(str(path)) for path, before, _ in step.modes if before is None]
    if missing:
        run(["touch", *missing], "touch", account=step.user)
    for mode, paths in _settings((mode, tree.path(str(path))) for path, _, mode in step.modes):
        _set(mode, paths, step.user)


def undo_modes(tree: Tree, effects: Effects, leave: Callable[[str], None]) -> None:
    """Set each mode back that is still as we left it; remove what we made, if it is empty."""
    changes = reversed(list(effects.modes.items()))
    for user, group in groupby(changes, key=lambda change: change[1][0]):
        found = [(tree.path(path), before, after) for path, (_, before, after) in group]
        made = (path for path, before, _ in found if before is None)
        kept = ((b, path) for path, b, after in found if b is not None and _has(path, after))
        removals = (partial(run, command, command[0], account=user) for command in _removals(made))
        settings = (partial(_set, mode, paths, user) for mode, paths in _settings(kept))
        undoings: Iterator[Callable[[], object]] = chain(removals, settings)
        for undo in undoings:
            try:
                undo()
            except CommandError as error:
                # The account can hinder that, or be gone, and shall not hinder the rest.
                leave(str(error))


def _has(path: Path, mode: int) -> bool:
    try:
        return stat.S_IMODE(path.lstat().st_mode) == mode
    except OSError:
        return False


def _removals(paths: Iterable[Path]) -> Iterator[list[str]]:
    for path in paths:
        try:
            is_folder = stat.S_ISDIR(path.lstat().st_mode)
            is_empty = not os.listdir(path) if is_folder else path.lstat().st_size == 0
        except OSError:
            continue
        if is_empty:
            yield ["rmdir" if is_folder else "rm", str(path)]


def _settings(wanted: Iterable[tuple[int, Path]]) -> Iterator[tuple[int, list[Path]]]:
    for mode, group in groupby(sorted(wanted), key=lambda pair: pair[0]):
        paths = (path for _, path in group)
        while batch := list(islice(paths, AT_ONCE)):
            yield mode, batch


def _set(mode: int, paths: list[Path], account: str) -> None:
    """Set the mode of what is still there: an application at work removes files.

    :raises CommandError: if that of another cannot be set
    """
    there = paths
    while there:
        # With four digits it would leave the set-group-ID bit of a folder.
        command = ["chmod", f"{mode:05o}", *map(str, there)]
        try:
            run(command, "chmod", account=account)
            return
        except CommandError:
            before, there = there, [path for path in there if os.path.lexists(path)]
            if there == before:
                raise
