"""The journal of activations: each step is recorded first; only root can read it."""

import fcntl
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pylonyard.activation.steps import ACCOUNTS, Effects, stem_of
from pylonyard.system import safe_files
from pylonyard.system.accounts import ROOTS_FOLDER
from pylonyard.system.active_note import (
    JOURNAL,
    NAME,
    Note,
    damaged_journal,
    folder_of,
    follow,
)
from pylonyard.system.errors import ActivationError
from pylonyard.system.locks import is_same_file
from pylonyard.system.rootfs import (
    ABSENT,
    Change,
    Changes,
    Entry,
    Tree,
    difference,
    draft_of,
    is_draft,
)
from pylonyard.webservers.registry import DEFAULT


@dataclass(frozen=True)
class Journal:
    """The active release, and the steps of an activation that has not ended."""

    sandbox: str
    release: int | None = None
    since: str = ""
    ours: Effects = field(default_factory=Effects)
    laid: Mapping[str, str] = field(default_factory=dict)
    """Each installed file of the release, with its SHA-256."""
    modules: tuple[str, ...] = ()
    """Modules of a web server that the release needs."""
    run: Effects = field(default_factory=Effects)
    """Steps of a running activation, or of one that was killed."""
    pending: Mapping[str, Entry] | None = None
    """The former state of paths that a running or killed step may be changing."""
    reloaded: Mapping[str, str] = field(default_factory=dict)
    """The last command to each web server in ``run``: ``reload`` or ``start``."""
    members: tuple[tuple[str, str], ...] = ()
    """Accounts, with the groups that the release needs them in."""
    folders: tuple[str, ...] = ()
    """Paths that the release needs open for the account of a web server."""
    note: Note | None = None
    """The note for everybody; None if an older Pylonyard activated the release."""

    @property
    def is_interrupted(self) -> bool:
        return bool(self.run) or self.pending is not None or bool(self.reloaded)

    @property
    def is_empty(self) -> bool:
        return self.release is None and not self.is_interrupted and not self.ours

    def to_json(self) -> dict[str, Any]:
        pending = self.pending
        return {
            "sandbox": self.sandbox,
            "release": self.release,
            "since": self.since,
            "ours": self.ours.to_json(),
            "laid": dict(self.laid),
            "modules": list(self.modules),
            "run": self.run.to_json(),
            "pending": None if pending is None else {n: e.to_json() for n, e in pending.items()},
            # Its name is that of the time when there was one web server.
            "reloaded": self.reloaded.get(DEFAULT, ""),
            "reloaded-others": {n: word for n, word in self.reloaded.items() if n != DEFAULT},
            "members": [list(pair) for pair in self.members],
            "folders": list(self.folders),
            "note": None if self.note is None else self.note.to_json(),
        }


def name_of(sandbox: Path) -> str:
    """Return the path of a sandbox's journal."""
    return f"{folder_of(sandbox)}/{JOURNAL}"


def load(tree: Tree, sandbox: Path) -> Journal:
    """Return the journal of ``sandbox``; an empty one if it was never activated.

    :raises ActivationError: if it is damaged
    """
    return _read(tree, name_of(sandbox)) or Journal(str(sandbox))


def _read(tree: Tree, name: str) -> Journal | None:
    entry = tree.read(name)
    if entry == ABSENT:
        return None
    try:
        values = safe_files.json_object(entry.content)
        pending = values["pending"]
        return Journal(
            values["sandbox"],
            values["release"],
            values["since"],
            Effects.from_json(values["ours"]),
            values["laid"],
            tuple(values["modules"]),
            Effects.from_json(values["run"]),
            None if pending is None else {n: Entry.from_json(e) for n, e in pending.items()},
            _reloaded(values),
            tuple((user, group) for user, group in values.get("members", ())),
            tuple(values.get("folders", ())),
            _note(values.get("note")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged_journal(tree.path(name)) from error


def _reloaded(values: Mapping[str, Any]) -> dict[str, str]:
    first = {DEFAULT: str(values["reloaded"])} if values["reloaded"] else {}
    return {**first, **values.get("reloaded-others", {})}


def _note(values: Any) -> Note | None:
    try:
        return None if values is None else Note.from_json(values)
    except safe_files.NewerError:
        return None


def save(tree: Tree, sandbox: Path, journal: Journal) -> None:
    """Write the journal, and sync it to the disk; remove it if it is empty."""
    save_as(tree, name_of(sandbox), journal)


def repair_note(tree: Tree, sandbox: Path, journal: Journal) -> None:
    """Write the note again from the journal, in case a run was killed between the two."""
    if journal.is_empty:
        save(tree, sandbox, journal)
    else:
        follow(tree, folder_of(sandbox), _public_note(journal))


def save_as(tree: Tree, name: str, journal: Journal) -> None:
    """Write a journal, then the note beside it.

    While it may be older than the journal, the note says that it is unfinished.
    """
    folder = os.path.dirname(name)
    if journal.is_empty:
        # The folder of all journals is the lock; its holder removes it last.
        note = f"{folder}/{NAME}"
        for gone in (draft_of(name), name, draft_of(note), note, folder):
            tree.put(gone, ABSENT)
        return
    text = json.dumps(journal.to_json(), indent=1) + "\n"
    tree.put(name, Entry("file", 0o600, 0, 0, text.encode()))
    follow(tree, folder, _public_note(journal))


def _public_note(journal: Journal) -> Note | None:
    """Return the note for everybody; None if the journal has none."""
    if journal.note is None and journal.release is not None:
        return None
    note = journal.note or Note(sandbox=journal.sandbox)
    return replace(note, is_unfinished=journal.is_interrupted)


def others(tree: Tree, sandbox: Path) -> dict[str, Journal]:
    """Return the journals of other sandboxes, by path.

    :raises ActivationError: if one is damaged
    """
    names = (f"{ROOTS_FOLDER}/{digest}/{JOURNAL}" for digest in tree.names(ROOTS_FOLDER))
    found = {name: _read(tree, name) for name in names if name != name_of(sandbox)}
    return {name: journal for name, journal in found.items() if journal is not None}


@contextmanager
def exclusive(tree: Tree) -> Iterator[None]:
    """Hold the lock for all activations on a machine.

    :raises ActivationError: if another is at work
    """
    way = map(str, Path(ROOTS_FOLDER).parents[:-1])
    missing = [name for name in way if tree.read(name) == ABSENT]
    is_ours = False
    while not is_ours:
        with tree.folder(ROOTS_FOLDER, make=True) as folder:
            _lock(folder)
            # Whoever held it before may have removed it since we opened it.
            is_ours = is_same_file(tree.path(ROOTS_FOLDER), folder)
            if is_ours:
                try:
                    yield
                finally:
                    for name in (ROOTS_FOLDER, *missing):
                        tree.put(name, ABSENT)  # if it is empty again


def _lock(folder: int) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ActivationError(
            "another activation is at work on this machine; wait until it has finished"
        ) from None


# Which changes are ours: others make theirs while a tool runs, and after a kill.


def possible_changes(journal: Journal, now: Mapping[str, Entry]) -> dict[str, Change]:
    """Return the possible changes of the current step, or of the deactivation.

    :param now: what is at the paths of ``journal.pending``
    """
    changes = difference(journal.pending or {}, now)
    accounts = {name: change for name, change in changes.items() if name in ACCOUNTS}
    found = {
        name: Change(change.before, after)
        for name, change in changes.items()
        if name not in accounts and (after := _left_by_us(journal, name, change)) is not None
    }
    # These files have accounts and groups of others, too: take only those lines that are ours.
    if all(_is_undone(journal, name, change) for name, change in accounts.items()):
        found.update(accounts)
    return found


def possible_changes_of_tool(run: Effects, changes: Changes) -> Changes:
    """Return the possible changes of the last step of ``run``."""
    if run.at_work:
        return {n: c for n, c in changes.items() if is_named(n, run.at_work) or c.makes_folder}
    if run.members and not all(_is_of_group(c, run.members[-1][1]) for c in _groups(changes)):
        # Others' are in there, too, and ours is undone by its name.
        return {name: change for name, change in changes.items() if name not in ACCOUNTS}
    return changes


def is_named(name: str, names: Collection[str]) -> bool:
    """Return whether a link, or a record of one, is that of a site or module of ``names``."""
    stem = stem_of(name)
    return stem in names or re.sub(r"^[SK]\d\d", "", stem) in names


def _groups(changes: Changes) -> Iterator[Change]:
    return (changes[name] for name in ("/etc/group", "/etc/gshadow") if name in changes)


def _is_of_group(change: Change, group: str) -> bool:
    """Return whether only the line of a group changed."""
    start = f"{group}:".encode()
    before, after = (
        [line for line in entry.content.splitlines() if not line.startswith(start)]
        for entry in (change.before, change.after)
    )
    return before == after


def _left_by_us(journal: Journal, name: str, change: Change) -> Entry | None:
    """Return our last state of a path; None if we did not change it, or it is in ``run``."""
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
