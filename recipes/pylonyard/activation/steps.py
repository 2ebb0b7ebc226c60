"""The steps of an activation: each as the command that a person would type."""

import os
import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pylonyard.releases.contents import Site
from pylonyard.system.rootfs import Entry


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
    """Move a file of theirs aside, where nothing reads it."""

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
    """Make a file what it was before we first laid one there."""

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
    """One of Debian's commands, which changes no more than what is ``watched``."""

    words: tuple[str, ...]
    watched: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        return shlex.join(self.words)

    @property
    def names(self) -> tuple[str, ...]:
        """The sites or modules whose links it makes or removes."""
        return tuple(word for word in self.words[1:] if not word.startswith("-"))


def is_named(name: str, names: Collection[str]) -> bool:
    """Whether a link, or a record of one, is that of a site or module of ``names``."""
    stem = re.sub(r"\.(load|conf)$", "", os.path.basename(name))
    return stem in names or re.sub(r"^[SK]\d\d", "", stem) in names


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
class Grant:
    """Set the mode of a folder in the sandbox, as the account that owns it.

    Root's own rights are not used: the account could have put a link there.
    """

    path: Path
    user: str
    mode: int
    make: bool = False
    watched: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        if self.make:
            return ("mkdir", f"--mode={self.mode:04o}", str(self.path))
        return ("chmod", f"{self.mode:04o}", str(self.path))

    @property
    def command(self) -> str:
        return shlex.join(["runuser", "-u", self.user, "--", *self.words])


@dataclass(frozen=True)
class Share:
    """Let the group of a site's account write what the account has, as that account.

    ``modes``: for each path its mode before (None: it is missing) and after.
    """

    top: Path
    user: str
    modes: tuple[tuple[Path, int | None, int], ...]
    watched: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        words = ["runuser", "-u", self.user, "--", "chmod", "-R", "g+rwX", str(self.top)]
        return shlex.join(words)


@dataclass(frozen=True)
class MakeAccount:
    """Make a site's account: a system account that nobody logs in as.

    It stays, whatever is undone: files may be its own, and numbers are given again.
    """

    user: str
    has_group: bool = False
    """Whether a group of its name is there already."""
    watched: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        group = ["--gid", self.user] if self.has_group else ["--user-group"]
        return shlex.join(["useradd", "--system", *group, *_NO_LOGIN, self.user])


_NO_LOGIN = ("--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")


@dataclass(frozen=True)
class Own:
    """Give a site's account an empty folder to write into."""

    path: Path
    user: str
    group: str
    mode: int
    make: bool
    """Whether it is missing."""
    watched: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        if self.make:
            words = ["install", "-d", "-o", self.user, "-g", self.group, "-m", f"{self.mode:04o}"]
        else:
            words = ["chown", f"{self.user}:"]
        return shlex.join([*words, str(self.path)])


@dataclass(frozen=True)
class Permit:
    """Let the group of a site's account read a file of its release."""

    path: Path
    group: str
    mode: int
    watched: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        path = shlex.quote(str(self.path))
        return f"chgrp {self.group} {path} && chmod {self.mode:04o} {path}"


@dataclass(frozen=True)
class Serve:
    """Start, stop or restart a site's own server, by the init script that root owns.

    ``restart``: it listens at another address afterwards.
    """

    site: str
    action: str
    watched: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        return f"/etc/init.d/{self.site} {self.action}"


@dataclass(frozen=True)
class Name:
    """What visitors type for a site."""

    site: str
    name: str
    is_new: bool
    """Whether Apache has not served the site by it before."""


@dataclass(frozen=True)
class Test:
    """Have Apache read its whole configuration; ``names`` are to be nobody else's in it."""

    names: tuple[Name, ...] = ()
    watched: tuple[str, ...] = ()
    command = "apache2ctl configtest"


@dataclass(frozen=True)
class Reload:
    """Have Apache serve by its new configuration."""

    running: bool
    watched: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        return "apache2ctl graceful" if self.running else "service apache2 start"


@dataclass(frozen=True)
class Ask:
    """Make the first request that a visitor would make, at a port."""

    site: Site
    port: int
    is_secure: bool = False
    watched: tuple[str, ...] = ()

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
class SetUp:
    """Have a site's application set itself up in its database, as its account; once."""

    site: str
    user: str
    release: Path
    watched: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        folder = self.release / self.site
        words = [folder / "bin" / "paster", "setup-app", folder / "production.ini"]
        return shlex.join(["runuser", "-u", self.user, "--", *map(str, words)])


Ground = MakeAccount | Own | Permit | SetUp
Step = Ground | Lay | Keep | Restore | Tool | Join | Grant | Share | Serve | Test | Reload | Ask
