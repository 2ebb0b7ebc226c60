"""Which changes are ours: others make theirs while a tool runs, and after a kill."""

from collections.abc import Iterator, Mapping

from pylonyard.activation.effects import Effects
from pylonyard.activation.entries import ABSENT, Change, Changes, Entry, difference
from pylonyard.activation.journal import Journal
from pylonyard.activation.steps import ACCOUNTS, is_named
from pylonyard.activation.tree import is_draft


def of_ours(journal: Journal, now: Mapping[str, Entry]) -> dict[str, Change]:
    """Return what the step at work, or the deactivation, can have changed.

    :param now: what is at the paths of ``journal.pending``
    """
    changes = difference(journal.pending or {}, now)
    accounts = {name: change for name, change in changes.items() if name in ACCOUNTS}
    found = {
        name: Change(change.before, after)
        for name, change in changes.items()
        if name not in accounts and (after := _left_by_us(journal, name, change)) is not None
    }
    # Others' accounts and groups are in there, too: only what none of them has touched.
    if all(_is_undone(journal, name, change) for name, change in accounts.items()):
        found.update(accounts)
    return found


def of_tool(run: Effects, changes: Changes) -> Changes:
    """Return what the last step of ``run`` can have changed while it was at work."""
    if run.at_work:
        return {n: c for n, c in changes.items() if is_named(n, run.at_work) or c.makes_folder}
    if run.members and not all(_is_of_group(c, run.members[-1][1]) for c in _groups(changes)):
        # Others' are in there, too, and ours is undone by its name.
        return {name: change for name, change in changes.items() if name not in ACCOUNTS}
    return changes


def _groups(changes: Changes) -> Iterator[Change]:
    return (changes[name] for name in ("/etc/group", "/etc/gshadow") if name in changes)


def _is_of_group(change: Change, group: str) -> bool:
    """Whether no line changed but that of a group."""
    start = f"{group}:".encode()
    before, after = (
        [line for line in entry.content.splitlines() if not line.startswith(start)]
        for entry in (change.before, change.after)
    )
    return before == after


def _left_by_us(journal: Journal, name: str, change: Change) -> Entry | None:
    """Return what we left at a path; None if we did not touch it, or it is in ``run``."""
    if change.makes_folder or is_draft(name) or is_named(name, journal.run.at_work):
        return change.after
    if name in journal.run.files or name not in journal.ours.files:
        return None
    is_others = change.before == ABSENT and not _is_undone(journal, name, change)
    return None if is_others else _before(journal, name)


def _before(journal: Journal, name: str) -> Entry:
    return journal.ours.files[name].before


def _is_undone(journal: Journal, name: str, change: Change) -> bool:
    return name in journal.ours.files and change.after == _before(journal, name)
