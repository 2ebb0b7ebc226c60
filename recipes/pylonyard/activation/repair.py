"""After a kill: which changes since then can be ours; others had time for theirs."""

from collections.abc import Mapping

from pylonyard.activation.entries import ABSENT, Change, Entry, difference
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
