"""The note of the active release: root writes it, everybody may read it, no secret is in it.

Only root can read journals.  But a run by another account has to know what is active:
this note is beside the journal, and follows it.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from pylonyard.system import safe_files
from pylonyard.system.accounts import ROOTS_FOLDER
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import ABSENT, Entry, Tree

NAME = "note.json"
JOURNAL = "journal.json"

VERSION = 1
"""The version of the note; older versions can be read."""

LONGEST = 100
"""Entries that are kept of the history."""


@dataclass(frozen=True)
class NotedSite:
    """A site as it was activated; ``environment`` is empty if the release has none."""

    environment: str
    mode: str
    account: str

    def differs_from(self, other: "NotedSite") -> bool:
        """Return whether it is another; what is not known is no difference."""
        pairs = ((vars(self)[name], vars(other)[name]) for name in vars(self))
        return any(one != two and bool(one) and bool(two) for one, two in pairs)

    def is_of_another(self, other: "NotedSite") -> bool:
        """Return whether its account is another; what is not known is no difference."""
        return bool(self.account and other.account) and self.account != other.account

    def __str__(self) -> str:
        words = [self.environment or "an unknown environment", self.mode or "without Apache"]
        return ", ".join([*words, f"account {self.account}"])


@dataclass(frozen=True)
class Activated:
    """A release that was active, with the time and the environment of each site."""

    release: int
    since: str
    environments: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Note:
    """The active release of a sandbox; ``release`` is None if none is active."""

    sandbox: str = ""
    release: int | None = None
    since: str = ""
    """When it was activated: ``2026-01-31T23:59:59Z``."""
    configuration: str = ""
    """The configuration of the release, such as ``production.cfg``; empty if not known."""
    sites: Mapping[str, NotedSite] = field(default_factory=dict)
    history: tuple[Activated, ...] = ()
    """All releases that were active, in order, including this one."""
    is_whole: bool = True
    """True if the history goes back to the first activation."""
    is_unfinished: bool = False
    """True if an activation, or a deactivation, is at work or was cut short."""

    def then(self, later: "Note") -> "Note":
        """Return ``later`` with the history of both."""
        assert later.release is not None
        environments = {name: site.environment for name, site in later.sites.items()}
        activated = Activated(later.release, later.since, environments)
        before = self.history
        if before and before[-1] == replace(activated, since=before[-1].since):
            before, activated = before[:-1], before[-1]
        return replace(later, history=(*before, activated)[-LONGEST:], is_whole=self.is_whole)

    @property
    def needed(self) -> frozenset[int]:
        """Return the active release, and the one to which a rollback returns."""
        if self.release is None:
            return frozenset()
        here = {name: site.environment for name, site in self.sites.items()}
        before = [number for number in self.way_back(here) if number < self.release]
        return frozenset({self.release, *before[-1:]})

    def way_back(self, environments: Mapping[str, str]) -> list[int]:
        """Return the releases along which rollbacks go, of these environments, the oldest first.

        What was active after a release to which a rollback returned is not among them.
        """
        found: list[int] = []
        for each in self.history:
            if not is_same_environment(each.environments, environments):
                continue
            while found and found[-1] >= each.release:
                found.pop()
            found.append(each.release)
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "sandbox": self.sandbox,
            "release": self.release,
            "since": self.since,
            "configuration": self.configuration,
            "sites": {name: vars(site) for name, site in self.sites.items()},
            "history": [vars(each) for each in self.history],
            "whole": self.is_whole,
            "unfinished": self.is_unfinished,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Note":
        """Convert the result of ``to_json`` back.

        :raises AttributeError, KeyError, TypeError, ValueError: if it is something else
        """
        safe_files.expect_version(values, VERSION)
        release = values["release"]
        return cls(
            sandbox=str(values["sandbox"]),
            release=None if release is None else int(release),
            since=str(values["since"]),
            configuration=str(values["configuration"]),
            sites={str(name): _site(said) for name, said in values["sites"].items()},
            history=tuple(_activated(each) for each in values["history"]),
            is_whole=bool(values["whole"]),
            is_unfinished=bool(values["unfinished"]),
        )


def is_same_environment(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether no site has another environment, as far as these are known."""
    pairs = ((one[name], other[name]) for name in one.keys() & other.keys())
    return all(first == second or not first or not second for first, second in pairs)


class Site(Protocol):
    """The entry of a site in the note."""

    @property
    def name(self) -> str: ...
    @property
    def environment(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def user(self) -> str: ...


def noted_sites(sites: Iterable[Site]) -> dict[str, NotedSite]:
    """Return the entries for the sites of a release."""
    return {site.name: NotedSite(site.environment, site.mode, site.user) for site in sites}


def _site(said: Mapping[str, Any]) -> NotedSite:
    return NotedSite(str(said["environment"]), str(said["mode"]), str(said["account"]))


def _activated(said: Mapping[str, Any]) -> Activated:
    environments = {str(name): str(value) for name, value in said["environments"].items()}
    return Activated(int(said["release"]), str(said["since"]), environments)


def folder_of(sandbox: Path) -> str:
    """Return root's folder for a sandbox, where no other account can write."""
    return f"{ROOTS_FOLDER}/{safe_files.path_digest(sandbox.resolve())}"


def read(tree: Tree, sandbox: Path) -> Note | None:
    """Return the note of ``sandbox``; None if no activation has written one.

    :raises ActivationError: if somebody else could have written it, it is damaged, or a
        newer Pylonyard wrote it
    """
    name = f"{folder_of(sandbox)}/{NAME}"
    entry = tree.read(name)
    if entry == ABSENT:
        return None
    place = tree.path(name)
    if why := _not_roots(entry, tree):
        raise ActivationError(
            f"{place}: expected a file of root's that nobody else may write, got {why}; "
            "see who made it, move it elsewhere, and run bin/pylonyard activate as root"
        )
    try:
        return Note.from_json(safe_files.json_object(entry.content))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        got = str(error) if isinstance(error, safe_files.NewerError) else "damaged text"
        raise ActivationError(
            f"{place}: expected a note of what is active, version {VERSION}, got {got}; "
            "bin/pylonyard activate, as root, writes it again"
        ) from error


def journalled(tree: Tree, sandbox: Path) -> int | None:
    """Return the release that an older Pylonyard, which wrote no note, has activated.

    :raises ActivationError: if its journal is damaged
    :raises PermissionError: if it is root's alone to read
    """
    name = f"{folder_of(sandbox)}/{JOURNAL}"
    entry = tree.read(name)
    if entry == ABSENT:
        return None
    try:
        release = safe_files.json_object(entry.content)["release"]
        return None if release is None else int(release)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged_journal(tree.path(name)) from error


def damaged_journal(place: Path) -> ActivationError:
    return ActivationError(
        f"{place}: expected a journal of activations, got damaged text; "
        "move it away, and activate again"
    )


def active_release(sandbox: Path) -> int | None:
    """Return the active release on this machine, from files that everybody may read."""
    try:
        noted = read(Tree(Path("/")), sandbox)
    except (ActivationError, OSError):
        return None
    return noted.release if noted else None


def _not_roots(entry: Entry, tree: Tree) -> str:
    """Return why a note cannot be trusted; empty if it can."""
    if entry.kind != "file":
        return f"a {entry.kind}"
    # A scratch tree belongs to the account that made it, which need not be root.
    if entry.uid not in ({0} if tree.is_machine else {0, os.geteuid()}):
        return f"one of the account of number {entry.uid}"
    return f"mode {entry.mode:04o}" if entry.mode & 0o022 else ""


def follow(tree: Tree, folder: str, note: Note | None) -> None:
    """Write the note in ``folder``; None removes it."""
    name = f"{folder}/{NAME}"
    if note is None:
        tree.put(name, ABSENT)
        return
    text = json.dumps(note.to_json(), indent=1, sort_keys=True) + "\n"
    entry = Entry("file", 0o644, 0, 0, text.encode())
    there = tree.read(name)
    if (there.kind, there.mode, there.content) != ("file", entry.mode, entry.content):
        tree.put(name, entry)
