"""What steps have changed, in a form that can be kept and undone."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pylonyard.activation.host.conffiles import is_kept
from pylonyard.activation.steps import ACCOUNTS, Grant, Join, Serve, Share, Step, Tool
from pylonyard.system.rootfs import Change, Changes, Entry, merged


@dataclass(frozen=True)
class Effects:
    """Changes of files, memberships, modes and servers."""

    files: Mapping[str, Change] = field(default_factory=dict)
    members: tuple[tuple[str, str], ...] = ()
    """Accounts and the groups that they were added to."""
    modes: Mapping[str, tuple[str, int | None, int]] = field(default_factory=dict)
    """Folder -> its account, its mode before (None: it was missing), and after."""
    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    """Sites whose own server ran, and was stopped."""
    at_work: tuple[str, ...] = ()
    """Sites and modules whose links the last step makes or removes."""

    def with_files(self, changes: Mapping[str, Change]) -> "Effects":
        return replace(self, files=merged(self.files, changes))

    def with_intended(self, changes: Changes) -> "Effects":
        """Return these and what a step is about to change, be it back to the first state."""
        found = {n: Change(self.files.get(n, c).before, c.after) for n, c in changes.items()}
        return replace(self, files={**self.files, **found})

    def without_kept(self) -> "Effects":
        """Return these but for files of theirs that were kept: no later undoing takes those."""
        return replace(self, files={n: c for n, c in self.files.items() if not is_kept(n)})

    def with_step(self, step: Step, before: int | None = None) -> "Effects":
        """Return these and what ``step`` changes besides files.

        :param before: the mode of the folder that the step is about; of a server
            1 if it runs
        """
        if isinstance(step, Tool):
            return replace(self, at_work=step.names)
        if isinstance(step, Join):
            return replace(self, members=(*self.members, (step.user, step.group)))
        if isinstance(step, Grant):
            changed = (step.user, before, step.mode)
            return replace(self, modes={**self.modes, str(step.path): changed})
        if isinstance(step, Share):
            changes = {str(path): (step.user, was, mode) for path, was, mode in step.modes}
            return replace(self, modes={**self.modes, **changes})
        if isinstance(step, Serve) and step.action == "start" and not before:
            return replace(self, started=(*self.started, step.site))
        if isinstance(step, Serve) and step.action == "stop" and before:
            return replace(self, stopped=(*self.stopped, step.site))
        return self

    def then(self, later: "Effects") -> "Effects":
        """Return both as one: what these found, what the later ones left."""
        modes = dict(self.modes)
        for path, (user, before, after) in later.modes.items():
            modes[path] = (user, modes[path][1] if path in modes else before, after)
        return Effects(
            merged(_unbroken(self.files, later.files), later.files),
            tuple(dict.fromkeys([*self.members, *later.members])),
            modes,
            # One that came and went, or went and came, is as it was.
            _followed(self.started, later.stopped, later.started, self.stopped),
            _followed(self.stopped, later.started, later.stopped, self.started),
        )

    def __bool__(self) -> bool:
        return any((self.files, self.members, self.modes, self.started, self.stopped))

    def to_json(self) -> dict[str, Any]:
        return {
            "files": {
                name: [change.before.to_json(), change.after.to_json()]
                for name, change in self.files.items()
            },
            "members": [list(pair) for pair in self.members],
            "modes": {path: list(three) for path, three in self.modes.items()},
            "started": list(self.started),
            "stopped": list(self.stopped),
            "at_work": list(self.at_work),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Effects":
        return cls(
            {
                name: Change(Entry.from_json(before), Entry.from_json(after))
                for name, (before, after) in values["files"].items()
            },
            tuple((user, group) for user, group in values["members"]),
            {path: (three[0], three[1], three[2]) for path, three in values["modes"].items()},
            tuple(values["started"]),
            tuple(values.get("stopped", ())),
            tuple(values.get("at_work", ())),
        )


def _unbroken(older: Changes, newer: Changes) -> Changes:
    """Leave out account files that others have changed in between: theirs shall stay."""
    both = [name for name in ACCOUNTS if name in older and name in newer]
    if all(older[name].after == newer[name].before for name in both):
        return older
    return {name: change for name, change in older.items() if name not in ACCOUNTS}


def _followed(
    before: tuple[str, ...],
    undone: tuple[str, ...],
    done: tuple[str, ...],
    cancelled: tuple[str, ...],
) -> tuple[str, ...]:
    kept = [site for site in before if site not in undone]
    return tuple(dict.fromkeys([*kept, *(site for site in done if site not in cancelled)]))
