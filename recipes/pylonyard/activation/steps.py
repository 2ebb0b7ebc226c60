"""The steps of an activation, each with the command that a person would type."""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pylonyard.activation.host.conffiles import is_kept
from pylonyard.system.rootfs import Change, Changes, Entry, merged
from pylonyard.watchers.registry import starter
from pylonyard.webservers.registry import PublicName, server

if TYPE_CHECKING:
    from pylonyard.releases.contents import Site


class _Unwatched:
    """A step that changes no file in ``/etc``."""

    watched: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Lay:
    """Write a root-owned file."""

    name: str
    entry: Entry
    source: Path

    @property
    def command(self) -> str:
        words = ["install", "-o", "root", "-g", "root", "-m", f"{self.entry.mode:04o}"]
        return shlex.join([*words, str(self.source), self.name])

    @property
    def watched(self) -> tuple[str, ...]:
        return (self.name,)


@dataclass(frozen=True)
class Keep:
    """Keep an edited file under another name, which no program reads."""

    name: str
    place: str

    @property
    def command(self) -> str:
        return shlex.join(["mv", self.name, self.place])

    @property
    def watched(self) -> tuple[str, ...]:
        return (self.name, self.place)


@dataclass(frozen=True)
class Restore:
    """Restore a file as it was before the first activation."""

    name: str
    entry: Entry

    @property
    def command(self) -> str:
        if self.entry.kind == "absent":
            return shlex.join(["rm", self.name])
        return f"# {self.name}: back to what it was before the first activation"

    @property
    def watched(self) -> tuple[str, ...]:
        return (self.name,)


@dataclass(frozen=True)
class Tool:
    """Run one of Debian's commands, which changes only the ``watched`` paths."""

    words: tuple[str, ...]
    watched: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        return shlex.join(self.words)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the sites or modules whose links it makes or removes."""
        return tuple(stem_of(word) for word in self.words[1:] if not word.startswith("-"))


def stem_of(name: str) -> str:
    """Return the site or module in the name of a link, or of its record."""
    return re.sub(r"\.(load|conf)$", "", os.path.basename(name))


ACCOUNT_FILES = tuple(f"/etc/{name}" for name in ("group", "gshadow", "group-", "gshadow-"))
ACCOUNTS = (*ACCOUNT_FILES, "/etc/.pwd.lock")


@dataclass(frozen=True)
class Join:
    """Add an account to a group."""

    user: str
    group: str
    watched: tuple[str, ...] = ACCOUNTS

    @property
    def command(self) -> str:
        return shlex.join(["usermod", "-a", "-G", self.group, self.user])


@dataclass(frozen=True)
class Grant(_Unwatched):
    """Set the mode of a folder in the sandbox, as the account that owns it.

    Root's own rights are not used: the account could have put a link there.
    """

    path: Path
    user: str
    mode: int
    make: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        if self.make:
            return ("mkdir", f"--mode={self.mode:04o}", str(self.path))
        return ("chmod", f"{self.mode:04o}", str(self.path))

    @property
    def command(self) -> str:
        return shlex.join(["runuser", "-u", self.user, "--", *self.words])


@dataclass(frozen=True)
class Share(_Unwatched):
    """Let the group of a site's account write the account's files, as that account.

    ``modes``: for each path its mode before (None: it is missing) and after.
    """

    top: Path
    user: str
    modes: tuple[tuple[Path, int | None, int], ...]

    @property
    def command(self) -> str:
        words = ["runuser", "-u", self.user, "--", "chmod", "-R", "g+rwX", str(self.top)]
        return shlex.join(words)


@dataclass(frozen=True)
class MakeAccount(_Unwatched):
    """Make a site's account: a system account that nobody logs in as.

    It is never removed: files may belong to it, and another account could get its number.
    """

    user: str
    has_group: bool = False
    """True if a group of its name is there already."""

    @property
    def command(self) -> str:
        group = ["--gid", self.user] if self.has_group else ["--user-group"]
        return shlex.join(["useradd", "--system", *group, *_NO_LOGIN, self.user])


_NO_LOGIN = ("--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")


@dataclass(frozen=True)
class Own(_Unwatched):
    """Give a site's account an empty folder to write to."""

    path: Path
    user: str
    group: str
    mode: int
    make: bool
    """True if it is missing."""

    @property
    def command(self) -> str:
        if self.make:
            words = ["install", "-d", "-o", self.user, "-g", self.group, "-m", f"{self.mode:04o}"]
        else:
            words = ["chown", f"{self.user}:"]
        return shlex.join([*words, str(self.path)])


@dataclass(frozen=True)
class Permit(_Unwatched):
    """Let the group of a site's account read a file of its release."""

    path: Path
    group: str
    mode: int

    @property
    def command(self) -> str:
        path = shlex.quote(str(self.path))
        return f"chgrp {self.group} {path} && chmod {self.mode:04o} {path}"


@dataclass(frozen=True)
class Serve(_Unwatched):
    """Start, stop or restart a site's own server, by root's command for that.

    ``restart``: it listens at another address afterwards.
    """

    site: str
    action: str

    @property
    def command(self) -> str:
        return shlex.join(starter().control(self.site, self.action))


@dataclass(frozen=True)
class Test(_Unwatched):
    """Have a web server check its configuration; no other site may have ``names``."""

    server: str
    names: tuple[PublicName, ...] = ()

    @property
    def command(self) -> str:
        return server(self.server).test


@dataclass(frozen=True)
class Reload(_Unwatched):
    """Reload a web server with its new configuration."""

    server: str
    running: bool

    @property
    def command(self) -> str:
        known = server(self.server)
        return known.graceful if self.running else known.start


@dataclass(frozen=True)
class Ask(_Unwatched):
    """Send a client's first request, at a port."""

    site: "Site"
    port: int
    is_secure: bool = False

    def url(self, host: str) -> str:
        return f"{'https' if self.is_secure else 'http'}://{host}:{self.port}/"

    @property
    def command(self) -> str:
        # Whether its certificate is sound is the doctor's to say.
        words = ["--insecure"] if self.is_secure else []
        header = f"Host: {self.site.server_name}"
        url = self.url(self.site.listen_address)
        return shlex.join(["curl", "--include", *words, "--header", header, url])


@dataclass(frozen=True)
class SetUp(_Unwatched):
    """Set a site's application up in its database, as its account; once."""

    site: str
    user: str
    release: Path

    @property
    def command(self) -> str:
        folder = self.release / self.site
        words = [folder / "bin" / "paster", "setup-app", folder / "production.ini"]
        return shlex.join(["runuser", "-u", self.user, "--", *map(str, words)])


Preparation = MakeAccount | Own | Permit | SetUp
_Other = Lay | Keep | Restore | Tool | Join | Grant | Share | Serve | Test | Reload | Ask
Step = Preparation | _Other


@dataclass(frozen=True)
class Effects:
    """The changes of steps, in a form that can be stored and undone."""

    files: Mapping[str, Change] = field(default_factory=dict)
    members: tuple[tuple[str, str], ...] = ()
    """Accounts, with the groups that they were added to."""
    modes: Mapping[str, tuple[str, int | None, int]] = field(default_factory=dict)
    """For each folder its account, its mode before (None: it was missing), and after."""
    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    """Sites whose running server was stopped."""
    at_work: tuple[str, ...] = ()
    """Sites and modules whose links the last step makes or removes."""

    def with_files(self, changes: Mapping[str, Change]) -> "Effects":
        return replace(self, files=merged(self.files, changes))

    def with_intended(self, changes: Changes) -> "Effects":
        """Return these, with the changes that a step will make."""
        found = {n: Change(self.files.get(n, c).before, c.after) for n, c in changes.items()}
        return replace(self, files={**self.files, **found})

    def without_kept(self) -> "Effects":
        """Return these without kept files of others, which are not undone later."""
        return replace(self, files={n: c for n, c in self.files.items() if not is_kept(n)})

    def with_step(self, step: Step, before: int | None = None) -> "Effects":
        """Return these, with the changes of ``step`` to other things than files.

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
        """Return both as one: the state before these, and the state after the later ones."""
        modes = dict(self.modes)
        for path, (user, before, after) in later.modes.items():
            modes[path] = (user, modes[path][1] if path in modes else before, after)
        return Effects(
            merged(_unbroken(self.files, later.files), later.files),
            tuple(dict.fromkeys([*self.members, *later.members])),
            modes,
            # A server that was started and stopped again is unchanged.
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
    """Leave out account files that others have changed in between, so that they stay."""
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
