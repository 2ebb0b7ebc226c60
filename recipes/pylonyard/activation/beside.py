"""Sandboxes beside one another on a machine: what one takes away, another may need."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pylonyard.activation import journal as journals
from pylonyard.activation.carrying import spared_links
from pylonyard.activation.effects import Effects
from pylonyard.activation.journal import Journal
from pylonyard.activation.steps import ACCOUNT_FILES
from pylonyard.activation.tree import Tree


def claimed(others: Iterable[Journal]) -> dict[str, str]:
    """Return each file that another sandbox's active release laid, with the sandbox."""
    # One that is gone from the disk can take nothing away, and shall not be waited for.
    return {name: other.sandbox for other in others if _exists(other) for name in other.laid}


def _exists(other: Journal) -> bool:
    return Path(other.sandbox).is_dir()


def divided(ours: Effects, others: Mapping[str, Journal]) -> tuple[Effects, dict[str, Effects]]:
    """Return what of ``ours`` nobody else needs, and for each of ``others`` what it needs."""
    parts = {}
    for name, other in others.items():
        if part := _needed(ours, other):
            parts[name] = part
            ours = without(ours, part)
    return ours, parts


def _needed(ours: Effects, other: Journal) -> Effects:
    named = {*other.laid, *spared_links(frozenset(other.modules))} & set(ours.files)
    folders = {str(parent) for name in named for parent in Path(name).parents}
    return Effects(
        {name: change for name, change in ours.files.items() if name in named | folders},
        tuple(pair for pair in ours.members if pair in other.members),
        {path: modes for path, modes in ours.modes.items() if path in other.folders},
    )


def without(ours: Effects, part: Effects) -> Effects:
    """Return ``ours`` but for the files, memberships and modes of a part of it."""
    files = {name: change for name, change in ours.files.items() if name not in part.files}
    rest = replace(
        ours,
        files=files,
        members=tuple(pair for pair in ours.members if pair not in part.members),
        modes={path: modes for path, modes in ours.modes.items() if path not in part.modes},
    )
    return _by_name(rest) if part.members else rest


def _by_name(effects: Effects) -> Effects:
    """Have each membership undone by itself: the files of accounts show those of several."""
    kept = {name: c for name, c in effects.files.items() if name not in ACCOUNT_FILES}
    return replace(effects, files=kept)


def hand_over(tree: Tree, others: Mapping[str, Journal], parts: Mapping[str, Effects]) -> None:
    """Have ``others`` undo, once they are deactivated, what they needed until then."""
    for name, part in parts.items():
        theirs = part.then(others[name].ours)
        ours = _by_name(theirs) if part.members else theirs
        # What is there may differ from what they would have laid; nobody has edited it.
        there = {n: part.files[n].after.digest for n in others[name].laid if n in part.files}
        changed = replace(others[name], ours=ours, laid={**others[name].laid, **there})
        journals.save_as(tree, name, changed)
