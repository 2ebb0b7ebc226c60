"""Apply the steps of a plan, each recorded first, and undo them."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from pylonyard.activation import access
from pylonyard.activation import journal as journals
from pylonyard.activation.access import share, undo_modes
from pylonyard.activation.host import visits
from pylonyard.activation.host.conffiles import kept_as
from pylonyard.activation.journal import Journal, possible_changes, possible_changes_of_tool
from pylonyard.activation.steps import (
    ACCOUNTS,
    Ask,
    Effects,
    Grant,
    Join,
    Keep,
    Lay,
    MakeAccount,
    Own,
    Permit,
    Reload,
    Restore,
    Serve,
    SetUp,
    Share,
    Step,
    Test,
    Tool,
)
from pylonyard.config.layout import Layout
from pylonyard.releases import contents
from pylonyard.system.errors import ActivationError, CommandError, UserError
from pylonyard.system.rootfs import ABSENT, Change, Changes, Entry, Tree, difference, draft_of
from pylonyard.system.subprocesses import clean_environment, first_error, run
from pylonyard.watchers.registry import starter
from pylonyard.webservers.registry import Log, Machine, WebServer, server, servers, tools

Say = Callable[[str], None]

MOVED = "listens at its new address; bin/pylonyard rollback takes it back"
"""The message about a server that cannot be moved back: it follows the current release."""


def ignoring_closed_output(say: Say) -> Say:
    """Return a function like ``say`` that ignores a closed output."""

    def said(line: str) -> None:
        try:
            say(line)
        except OSError:
            # Later prints, and Python's exit, must not fail either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return said


def now() -> str:
    """Return the time in the form of journals."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass
class StepRunner:
    """Apply steps to ``tree``; ``journal`` is always the same as on the disk."""

    tree: Tree
    sandbox: Path
    journal: Journal
    say: Say
    left: list[str] = field(default_factory=list)
    """Problems with steps that could not be undone; the others were."""

    def webserver(self, name: str) -> Machine:
        return server(name).machine(self.tree)

    def affected_webservers(self) -> list[tuple[WebServer, Machine]]:
        """Return the running web servers that may use our files."""
        ours = {*self.journal.laid, *self.journal.ours.files}
        known = ((one, self.webserver(one.name)) for one in servers() if any(map(one.owns, ours)))
        return [(one, machine) for one, machine in known if machine.pid]

    def note(self, **changes: object) -> None:
        """Change the journal; write it to the disk first."""
        changed = replace(self.journal, **changes)  # type: ignore[arg-type]
        journals.save(self.tree, self.sandbox, changed)
        self.journal = changed

    def apply_all(self, steps: tuple[Step, ...], logs: Mapping[str, Log]) -> None:
        """Take all ``steps``, or none.

        :param logs: what each web server logs meanwhile
        :raises ActivationError: telling why, once all is as it was before
        """
        for step in steps:
            try:
                self._apply_recorded(step)
            except (ActivationError, CommandError, OSError) as error:
                logged = self._logged(step, logs)
                why = f"{step.command}: {error}" + (f" ({logged})" if logged else "")
                self.roll_back_and_raise(why)
            except KeyboardInterrupt:
                self.interrupted()
                raise

    def _logged(self, step: Step, logs: Mapping[str, Log]) -> str:
        if isinstance(step, Reload):
            return logs[step.server].message()
        return logs[step.site.server].message() if isinstance(step, Ask) else ""

    def roll_back_and_raise(self, why: str, state: str = "all is as it was before") -> NoReturn:
        """Undo the steps of a run, and report why, and the ``state`` of the machine.

        :raises ActivationError: always
        """
        self._roll_back_after(why)
        rest = f", but for this: {'; '.join(self.left)}" if self.left else ""
        raise ActivationError(f"{why}; {state}{rest}")

    def interrupted(self) -> None:
        """Undo the steps of a run after Ctrl-C.

        :raises ActivationError: if they cannot be
        """
        self.say("# interrupted: its steps are undone")
        self._roll_back_after("interrupted")

    def _roll_back_after(self, why: str) -> None:
        try:
            self.roll_back()
        except (ActivationError, CommandError, OSError) as error:
            raise ActivationError(f"{why}; and it cannot be undone: {error}") from error
        except KeyboardInterrupt:
            self.say("# interrupted, and half undone: bin/pylonyard activate, or deactivate")
            raise

    def leave(self, problem: str) -> None:
        """Report a step that cannot be undone, and continue."""
        self.left.append(problem)
        self.say(f"# {problem}")

    def _apply_recorded(self, step: Step) -> None:
        watched = [*step.watched, *map(draft_of, step.watched)]
        before = self.tree.snapshot(watched)
        if isinstance(step, Reload):
            word = "reload" if step.running else "start"
            self.note(reloaded={**self.journal.reloaded, step.server: word})
        else:
            state = self._state(step)
            run = self.journal.run.with_step(step, state).with_intended(
                _intended_changes(step, before)
            )
            self.note(pending=before, run=replace(run, at_work=self._at_work(step)))
        self._apply(step)
        after = self.tree.snapshot([*watched, *before])
        run = self.journal.run
        run = run.with_files(possible_changes_of_tool(run, difference(before, after)))
        self.note(pending=None, run=replace(run, at_work=()))

    def _at_work(self, step: Step) -> tuple[str, ...]:
        """Return the sites or modules whose links a step makes or removes."""
        if not isinstance(step, Tool):
            return ()
        more = (self.webserver(one.name).implied_names(step.words) for one in servers())
        return (*step.names, *(name for names in more for name in names))

    def _state(self, step: Step) -> int | None:
        """Return the state before a step: a folder's mode; for a server, 1 if it runs."""
        if isinstance(step, Grant):
            place = self.tree.path(str(step.path))
            return place.stat().st_mode & 0o7777 if place.is_dir() else None
        if isinstance(step, Serve):
            return self._runs(step.site)
        return None

    def _runs(self, site: str) -> int | None:
        if not self.tree.is_machine:
            return None
        try:
            run(starter().running_command(site), _command_text(site, "status"))
        except CommandError:
            return None
        return 1

    def _apply(self, step: Step) -> None:
        self.say(step.command)
        match step:
            case Lay() | Restore():
                self.tree.put(step.name, step.entry)
            case Keep():
                self.tree.put(step.place, self.tree.read(step.name))
                self.tree.put(step.name, ABSENT)
            case Tool():
                self._tool(step.words)
            case Join():
                self._run(["usermod", *self._root("--prefix"), "-a", "-G", step.group, step.user])
            case Grant():
                words = [*step.words[:-1], str(self.tree.path(str(step.path)))]
                run(words, step.words[0], account=step.user)
            case MakeAccount():
                self._run(shlex.split(step.command))
                self.left.append(f"the account {step.user} stays")
            case Own() | Permit():
                access.settle_ownership(step)
            case SetUp():
                self._set_up(step)
            case Share():
                share(self.tree, step)
            case Serve():
                self._serve(step.site, step.action)
                if step.action == "restart":
                    self.left.append(f"{step.site} {MOVED}")
            case Test():
                machine = self.webserver(step.server)
                machine.test()
                if step.names:
                    machine.expect_names(step.names)
            case Reload():
                self.webserver(step.server).reload()
            case Ask():
                visits.request_site(step)

    def _set_up(self, step: SetUp) -> None:
        layout = Layout.below(self.sandbox)
        try:
            for setup in contents.due_setups(step.release, layout):
                if setup.site == step.site:
                    contents.set_up(setup, step.release, layout)
        except UserError as error:
            raise ActivationError(str(error)) from error

    def _tool(self, words: tuple[str, ...]) -> None:
        paths = [str(self.tree.path(word)) if word.startswith("/etc/") else word for word in words]
        self._run(paths)

    def _run(self, words: list[str]) -> None:
        environment = clean_environment(tools(self.tree))
        run(words, words[0], environment=environment, reason=first_error)

    def _root(self, option: str) -> list[str]:
        return [] if self.tree.is_machine else [option, str(self.tree.root)]

    def _serve(self, site: str, action: str) -> None:
        if self.tree.is_machine:
            run(starter().control(site, action), _command_text(site, action))

    def _expect_reload(self) -> None:
        """Note a reload if a web server may have been reloaded without a site that stays active."""
        run = self.journal.run
        if not run and not run.at_work and (found := self.affected_webservers()):
            self.note(reloaded={one.name: "reload" for one, _ in found})

    def finish(self, release: int, laid: Mapping[str, str], **needs: object) -> None:
        """Record the steps of this run as active."""
        if not self.journal.is_interrupted:
            # While the note is out of date, it must say so.
            self.note(pending={})
        self.note(
            release=release,
            since=now(),
            ours=self.journal.ours.then(self.journal.run).without_kept(),
            laid=dict(laid),
            **needs,
            run=Effects(),
            pending=None,
            reloaded={},
        )

    def roll_back(self, *, was_killed: bool = False) -> None:
        """Undo the steps of a run that failed or was killed.

        :param was_killed: some time ago, in which others may have changed something
        """
        if self.journal.pending is not None:
            after = self.tree.snapshot([*self.journal.pending])
            if was_killed:
                changes: Changes = possible_changes(self.journal, after)
                self._expect_reload()
            else:
                changes = possible_changes_of_tool(
                    self.journal.run, difference(self.journal.pending, after)
                )
            self.note(run=self.journal.run.with_files(changes), pending=None)
        undo(self, self.journal.run)
        for name, word in self.journal.reloaded.items():
            machine = self.webserver(name)
            if word == "start":
                machine.stop()
            elif not was_killed or self.tree.is_machine or machine.pid:
                machine.reload()
        self.note(run=Effects(), reloaded={})


def _command_text(site: str, action: str) -> str:
    return shlex.join(starter().control(site, action))


def _intended_changes(step: Step, before: Mapping[str, Entry]) -> Changes:
    """Return the changes of a step, as far as they are known before it."""
    after: dict[str, Entry] = {}
    if isinstance(step, Lay | Restore):
        after = {step.name: step.entry}
    elif isinstance(step, Keep):
        after = {step.name: ABSENT, step.place: before.get(step.name, ABSENT)}
    return {name: Change(before.get(name, ABSENT), entry) for name, entry in after.items()}


def undo(runner: StepRunner, effects: Effects) -> None:
    """Restore the machine as before ``effects``; later changes of others stay."""
    undo_servers(runner, effects)
    undo_files(runner, effects)
    undo_modes(runner.tree, effects, runner.leave)
    undo_stops(runner, effects)


def undo_servers(runner: StepRunner, effects: Effects) -> None:
    for site in effects.started:
        try:
            runner._serve(site, "stop")
        except CommandError as error:
            # Its account can prevent that; the rest is done all the same.
            runner.leave(str(error))


def undo_stops(runner: StepRunner, effects: Effects) -> None:
    """Start the servers again that ran, if their init scripts exist."""
    for site in effects.stopped:
        if runner.tree.read(starter().file(site)).kind == "file":
            runner.say(_command_text(site, "start"))
            try:
                runner._serve(site, "start")
            except CommandError as error:
                # A web server is still to be reloaded, and the next activation can mend it.
                runner.leave(str(error))


def undo_files(runner: StepRunner, effects: Effects, spared: frozenset[str] = frozenset()) -> None:
    """Undo the changes in ``/etc``.

    :param spared: paths that others need, and that are left as they are
    """
    files = dict(effects.files)
    if effects.members:
        _forget_members(runner, effects)
        files = {name: c for name, c in files.items() if name not in ACCOUNTS}
    for name in _removed_first(files):
        if name not in spared:
            _undo_file(runner, name, files[name])


def starting_files(effects: Effects) -> frozenset[str]:
    """Return the files that start and stop servers, to be removed after these were stopped."""
    return frozenset(filter(starter().is_part, effects.files))


def _removed_first(files: Mapping[str, Change]) -> list[str]:
    """Return the paths in order: those to remove, inner ones first, then those to restore."""
    gone = [name for name, change in files.items() if change.before == ABSENT]
    return [*sorted(gone, reverse=True), *sorted(set(files) - set(gone))]


def _undo_file(runner: StepRunner, name: str, change: Change) -> None:
    tree, now = runner.tree, runner.tree.read(name)
    if now == change.before:
        return
    if now == change.after or now.kind == change.after.kind == "folder":
        tree.put(name, change.before)
    elif now.kind == "file":
        place = kept_as(name, now, tree.read)
        runner.say(f"# {name}: edited here; yours is kept as {place}")
        tree.put(place, now)
        tree.put(name, change.before)
    elif now == ABSENT and change.before.kind == "file":
        tree.put(name, change.before)
    else:
        runner.say(f"# {name}: changed here since, and left so")


def _forget_members(runner: StepRunner, effects: Effects) -> None:
    tree = runner.tree
    changes = {name: c for name, c in effects.files.items() if name in ACCOUNTS}
    if "/etc/group" in changes and all(tree.read(n) == c.after for n, c in changes.items()):
        for name, change in changes.items():
            tree.put(name, change.before)
    for user, group in effects.members:
        if _is_member(tree.read("/etc/group"), user, group):
            runner.say(f"gpasswd --delete {user} {group}")
            runner._run(["gpasswd", *runner._root("--root"), "--delete", user, group])


def _is_member(groups: Entry, user: str, group: str) -> bool:
    lines = (line.split(":") for line in groups.content.decode(errors="replace").splitlines())
    return any(line[0] == group and user in line[-1].split(",") for line in lines)
