"""Run ``bin/pylonyard activate`` and ``deactivate``."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from pylonyard.activation import access
from pylonyard.activation import journal as journals
from pylonyard.activation.access import undo_modes
from pylonyard.activation.apply import (
    Say,
    StepRunner,
    ignoring_closed_output,
    now,
    starting_files,
    undo_files,
    undo_servers,
    undo_stops,
)
from pylonyard.activation.host import facts, trust, visits
from pylonyard.activation.journal import Journal
from pylonyard.activation.plan import Plan, plan
from pylonyard.activation.steps import ACCOUNT_FILES, Effects
from pylonyard.releases import contents, servers
from pylonyard.releases.store import Releases
from pylonyard.system import accounts, rootfs
from pylonyard.system import active_note as notes
from pylonyard.system.active_note import Note
from pylonyard.system.errors import ActivationError, CommandError
from pylonyard.system.rootfs import Tree
from pylonyard.webservers import registry
from pylonyard.webservers.registry import Log, Machine, WebServer


@dataclass(frozen=True)
class Activation:
    """A sandbox, and the tree in which its current release is installed."""

    sandbox: Path
    releases: Releases
    tree: Tree

    @property
    def is_allowed(self) -> bool:
        return os.geteuid() == 0 or not self.tree.is_machine

    def active_number(self) -> int | None:
        """Return the number of the active release.

        :raises ActivationError: if the journal is damaged
        :raises PermissionError: if only root can read it, and there is no note
        """
        try:
            return journals.load(self.tree, self.sandbox).release
        except PermissionError:
            if (note := self.note()) is None or note.is_unfinished:
                raise
            return note.release

    def note(self) -> Note | None:
        """Return the note of the active release; None if nothing was ever active.

        :raises ActivationError: if the note cannot be trusted
        """
        return notes.read(self.tree, self.sandbox)

    def release(self) -> contents.Release:
        """Return the current release; refuse it if another account could have changed it."""
        number = self.releases.current_number()
        if number is None:
            raise ActivationError(f"{self.releases.current}: expected a release; run bin/buildout")
        folder = self.releases.path(number)
        believed = trust.trusted_accounts()
        trust.check([folder, folder / "manifest.json", *_program_files(folder)], believed)
        release = contents.read(folder, number)
        trust.check([source.path for source in release.files], believed)
        trust.check(_files_opened_as_root(release.sites), believed)
        return release

    def plan(self, release: contents.Release, *, force_new: bool = False) -> Plan:
        journal = journals.load(self.tree, self.sandbox)
        originals = {name: change.before for name, change in journal.ours.files.items()}
        is_roots = self.tree.is_machine and os.geteuid() == 0
        seen = facts.read_machine(
            self.tree,
            release,
            journal.laid,
            originals,
            webservers={one.name: machine.state() for one, machine in self._webservers()},
            # Only root may see all that runs.
            servers=servers.server_states(release) if is_roots else None,
        )
        others = journals.others(self.tree, self.sandbox)
        claimed = claimed_files(others.values())
        return plan(release, seen, force_new=force_new, claimed=claimed)

    def dry_run(self, say: Say, *, force_new: bool = False) -> None:
        """Print the steps of ``activate``; change nothing.

        :raises ActivationError: if ``activate`` would, or if only root can tell
        """
        release = self.release()
        try:
            journal = journals.load(self.tree, self.sandbox)
            left = self._leftover_access(journal.ours, release)
            made = self.plan(release, force_new=force_new)
        except PermissionError as error:
            again = accounts.as_root(f"{sys.argv[0]} activate --dry-run")
            raise ActivationError(f"only root may read what is active here: {again}") from error
        if journal.is_interrupted:
            say("# an activation was interrupted: its steps are undone first")
        for line in report_lines(self.tree, made):
            say(line)
        for line in access.leftover_lines(left):
            say(line)
        if not made.steps:
            say(f"# release {release.number} is active; there is nothing to do")

    def activate(self, say: Say, *, force_new: bool = False) -> None:
        """Install the current release on the machine, or leave everything as it is.

        :raises ActivationError: telling why, and that all is as it was before
        """
        self.expect_allowed("activate")
        release = self.release()
        with journals.exclusive(self.tree):
            runner = self.runner(say)
            self.recover(runner)
            made = self.plan(release, force_new=force_new)
            is_another = runner.journal.release != release.number
            for note in made.notes:
                runner.say(f"# {note}")
            runner.apply_all(made.steps, self._logs(release))
            laid = {s.name: s.entry.digest for s in release.files}
            if made.steps or is_another:
                noted = self._note_of(runner.journal, release)
                runner.finish(release.number, laid, note=noted, **self._needed_effects(release))
            self._withdraw_access(runner, release)
        what = "is active now" if made.steps or is_another else "is active; there is nothing to do"
        runner.say(f"# release {release.number} {what}")
        if self.tree.is_machine or any(machine.pid for _, machine in self._webservers()):
            for line in chain.from_iterable(
                map(visits.address_lines, self._visible_sites(release))
            ):
                runner.say(f"# {line}")

    def _webservers(self) -> list[tuple[WebServer, Machine]]:
        return [(one, one.machine(self.tree)) for one in registry.servers()]

    def _visible_sites(self, release: contents.Release) -> Iterator[contents.Site]:
        """Yield the sites; their ``mode`` is empty where the web server is not installed."""
        seen = {one.name: machine.state() for one, machine in self._webservers()}
        for site in release.sites:
            yield site if seen[site.server].is_installed else replace(site, mode="")

    def deactivate(self, say: Say) -> None:
        """Restore the machine as it was before the first activation."""
        self.expect_allowed("deactivate")
        with journals.exclusive(self.tree):
            runner = self.runner(say)
            self.recover(runner)
            journal = runner.journal
            if journal.release is None:
                say("# no release of this sandbox is active; there is nothing to do")
                return
            self._remove_effects(runner, journal.ours)
        for account in sorted({s.account for s in (journal.note or Note()).sites.values()}):
            runner.say(f"# the account {account} stays, with all that is its own in var")
        runner.say(f"# release {journal.release} is not active any more")

    def _leftover_access(self, ours: Effects, release: contents.Release) -> Effects:
        return access.leftover_access(ours, release.sites, self._needed_effects(release)["members"])

    def _withdraw_access(self, runner: StepRunner, release: contents.Release) -> None:
        """Take back access that only an earlier release needed; the new one is active already."""
        left = self._leftover_access(runner.journal.ours, release)
        if not left:
            return
        others = journals.others(self.tree, self.sandbox)
        ours, parts = split_effects(left, others)
        for line in access.leftover_lines(ours):
            runner.say(line)
        try:
            undo_files(runner, replace(ours, modes={}))
            undo_modes(self.tree, ours, runner.leave)
        except (ActivationError, CommandError, OSError) as error:
            runner.say(f"# {error}")
        else:
            hand_over(self.tree, others, parts)
            runner.note(ours=subtract(runner.journal.ours, left))

    def _needed_effects(self, release: contents.Release) -> dict[str, tuple[Any, ...]]:
        """Return the modules and access that the active release needs, whoever made them."""
        sites = [site for site in release.sites if not site.has_server]
        users = {one.name: machine.account for one, machine in self._webservers()}
        groups = [(site, rootfs.account(self.tree, site.user).group) for site in sites]
        members = [(users[site.server], group) for site, group in groups]
        folders = [str(need.path) for site in sites for need in access.needs(site)]
        modules = [module for site in release.sites for module in site.modules]
        return {
            "members": tuple(dict.fromkeys(members)),
            "folders": tuple(dict.fromkeys(folders)),
            "modules": tuple(dict.fromkeys(modules)),
        }

    def _remove_effects(self, runner: StepRunner, everything: Effects) -> None:
        others = journals.others(self.tree, self.sandbox)
        ours, parts = split_effects(everything, others)
        for name in parts:
            runner.say(f"# {others[name].sandbox} needs some of it, so that part stays")
        runner.note(pending=self.tree.snapshot(ours.files))
        try:
            undo_files(runner, ours, starting_files(ours))
            self._reload(runner)
        except (ActivationError, CommandError, OSError) as error:
            runner.roll_back_and_raise(str(error), "it stays active")
        except KeyboardInterrupt:
            runner.interrupted()
            raise
        undo_servers(runner, ours)
        undo_files(runner, ours)
        undo_modes(self.tree, ours, runner.leave)
        undo_stops(runner, ours)
        hand_over(self.tree, others, parts)
        runner.note(**vars(Journal(runner.journal.sandbox)))

    def _reload(self, runner: StepRunner) -> None:
        """Reload each web server after files were removed.

        :raises ActivationError: if one does not
        """
        for one, machine in runner.affected_webservers():
            runner.say(one.graceful)
            try:
                machine.test()
                runner.note(reloaded={**runner.journal.reloaded, one.name: "reload"})
                machine.reload()
            except (ActivationError, CommandError, OSError) as error:
                is_refused = one.name not in runner.journal.reloaded
                what = "refuses its configuration" if is_refused else "does not reload"
                raise ActivationError(f"without it, {one.title} {what}: {error}") from error

    def runner(self, say: Say) -> StepRunner:
        journal = journals.load(self.tree, self.sandbox)
        return StepRunner(self.tree, self.sandbox, journal, ignoring_closed_output(say))

    def recover(self, runner: StepRunner) -> None:
        """Undo the steps of an activation that was killed."""
        if runner.journal.is_interrupted:
            runner.say("# an activation was interrupted: its steps are undone")
            runner.roll_back(was_killed=True)
        if runner.journal.note is None and runner.journal.release is not None:
            runner.note(note=self._note_of_older(runner.journal))
        journals.repair_note(self.tree, self.sandbox, runner.journal)

    def _note_of(self, journal: Journal, release: contents.Release) -> Note:
        """Return the note for everybody, once ``release`` is active."""
        before = journal.note or Note(sandbox=journal.sandbox)
        return before.then(
            Note(
                sandbox=journal.sandbox,
                release=release.number,
                since=now(),
                configuration=release.configuration,
                sites=notes.noted_sites(release.sites),
            )
        )

    def _note_of_older(self, journal: Journal) -> Note | None:
        """Return the note for a release that an older Pylonyard activated, if it still exists."""
        assert journal.release is not None
        folder = self.releases.path(journal.release)
        try:
            release = contents.described(folder, journal.release)
        except ActivationError:
            return None
        noted = self._note_of(journal, release)
        history = tuple(replace(each, since=journal.since) for each in noted.history)
        return replace(noted, since=journal.since, history=history, is_whole=False)

    def expect_allowed(self, action: str) -> None:
        if not self.is_allowed:
            again = accounts.as_root(f"{sys.argv[0]} {action}")
            raise ActivationError(f"only root may do this: {again}")

    def _logs(self, release: contents.Release) -> dict[str, Log]:
        sites = [site for site in release.sites if site.mode]
        return {
            one.name: machine.logs(site.name for site in sites if site.server == one.name)
            for one, machine in self._webservers()
        }


def _program_files(folder: Path) -> Iterator[Path]:
    """Yield the files of this program, which root runs."""
    yield folder / "bin" / "pylonyard"
    yield from trust.imported(Path(__file__).parent.parent)
    yield Path(sys.executable)


def _files_opened_as_root(sites: Iterable[contents.Site]) -> Iterator[Path]:
    """Yield the files that a web server opens while it has root's rights."""
    for site in sites:
        for path in (site.module, site.ssl_certificate, site.ssl_key):
            # What is missing, it tells itself.
            if path is not None and path.exists():
                yield path
        if site.module is not None and site.module.exists():
            yield from trust.libraries(site.module)


def report_lines(tree: Tree, made: Plan) -> Iterator[str]:
    """Yield the lines of ``--dry-run``."""
    if not tree.is_machine and made.steps:
        pairs = registry.tools(tree).items()
        yield "# " + " ".join(["below", str(tree.root), "with", *(f"{n}={v}" for n, v in pairs)])
    yield from (f"# {note}" for note in made.notes)
    yield from (step.command for step in made.steps)


# Several sandboxes on a machine: one may need what another would undo.


def claimed_files(others: Iterable[Journal]) -> dict[str, str]:
    """Return each file that other sandboxes have installed, with the sandbox."""
    # One whose folder is gone cannot deactivate itself: its files are free.
    return {name: other.sandbox for other in others if _exists(other) for name in other.laid}


def _exists(other: Journal) -> bool:
    return Path(other.sandbox).is_dir()


def split_effects(
    ours: Effects, others: Mapping[str, Journal]
) -> tuple[Effects, dict[str, Effects]]:
    """Divide ``ours`` into effects that only we need, and those that each of ``others`` needs."""
    parts = {}
    for name, other in others.items():
        if part := _effects_needed_by(ours, other):
            parts[name] = part
            ours = subtract(ours, part)
    return ours, parts


def _effects_needed_by(ours: Effects, other: Journal) -> Effects:
    links = (path for one in registry.servers() for path in one.links(other.modules))
    named = {*other.laid, *links} & set(ours.files)
    folders = {str(parent) for name in named for parent in Path(name).parents}
    return Effects(
        {name: change for name, change in ours.files.items() if name in named | folders},
        tuple(pair for pair in ours.members if pair in other.members),
        {path: modes for path, modes in ours.modes.items() if path in other.folders},
    )


def subtract(ours: Effects, part: Effects) -> Effects:
    """Return ``ours`` without the files, memberships and modes of a part of it."""
    files = {name: change for name, change in ours.files.items() if name not in part.files}
    rest = replace(
        ours,
        files=files,
        members=tuple(pair for pair in ours.members if pair not in part.members),
        modes={path: modes for path, modes in ours.modes.items() if path not in part.modes},
    )
    return _one_by_one(rest) if part.members else rest


def _one_by_one(effects: Effects) -> Effects:
    """Undo each membership by itself: account files show the memberships of several sandboxes."""
    kept = {name: c for name, c in effects.files.items() if name not in ACCOUNT_FILES}
    return replace(effects, files=kept)


def hand_over(tree: Tree, others: Mapping[str, Journal], parts: Mapping[str, Effects]) -> None:
    """Hand effects over to ``others``, which undo them when they are deactivated."""
    for name, part in parts.items():
        theirs = part.then(others[name].ours)
        ours = _one_by_one(theirs) if part.members else theirs
        # The file may differ from theirs, but nobody has edited it.
        there = {n: part.files[n].after.digest for n in others[name].laid if n in part.files}
        changed = replace(others[name], ours=ours, laid={**others[name].laid, **there})
        journals.save_as(tree, name, changed)
