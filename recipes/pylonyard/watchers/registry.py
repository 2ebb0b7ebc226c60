"""The interface of watchers: programs of the machine that start, watch or tidy up for a site.

A row in ``NAMES`` and a module of that name make one known; the module has ``WATCHER``.
They are imported as they are needed, by name.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pylonyard.system.rootfs import Tree

NAMES = ("init", "logrotate", "cron")
"""The watchers, in the order in which their files are laid."""

Command = tuple[tuple[str, ...], tuple[str, ...]]
"""The words of a command, and the folders in which it makes and removes links."""


class Check(NamedTuple):
    """A command that checks a file."""

    words: tuple[str, ...]
    package: str
    """The Debian package of the command."""
    is_needed: bool = True
    """True if a file may not go live without it."""
    reads_input: bool = False
    """True if it has the file from its standard input, and not as its last word."""
    function: Callable[[Path, str], None] | None = None
    """What checks a draft of the file, if the command alone does not do.

    It gets the file, and its path in the release, and raises ``CommandError``.
    """


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """A watcher's file in ``/etc`` for a site."""

    name: str
    folder: str
    what: str
    """The name of such a file in messages."""
    checks: tuple[Check, ...] = ()
    is_optional: bool = False
    """True if a file that somebody removed stays removed."""
    is_last: bool = False
    """True if it is laid once all servers have been started."""
    is_of_server: bool = True
    """True if a site without a server of its own has no such file."""

    @property
    def installed_check(self) -> Check | None:
        """Return the check of an installed file, whose command takes it as its last word."""
        return next((one for one in self.checks if not one.reads_input), None)

    def file(self, site: str) -> str:
        return f"{self.folder}/{site}"

    def owns(self, name: str) -> bool:
        """Return whether a path is one of its folder."""
        return str(PurePosixPath(name).parent) == self.folder

    def may_have(self, name: str) -> bool:
        """Return whether a release may lay a file at a path."""
        return bool(re.fullmatch(rf"{re.escape(self.folder)}/[a-z][a-z0-9_-]*", name))


class Starter(Watcher):
    """A watcher that starts and stops servers, also when the machine boots."""

    def control(self, site: str, action: str) -> tuple[str, ...]:
        """Return the command that starts, stops or restarts a site's own server."""
        raise NotImplementedError

    def running_command(self, site: str) -> tuple[str, ...]:
        """Return the command that succeeds if the server of a site runs, even without answering."""
        raise NotImplementedError

    def enable(self, site: str) -> Command:
        """Return the command that has the machine start a server when it boots."""
        raise NotImplementedError

    def disable(self, site: str) -> Command:
        raise NotImplementedError

    def enabled(self, tree: "Tree") -> set[str]:
        """Return the sites that the machine starts when it boots."""
        raise NotImplementedError

    def registered(self, tree: "Tree") -> set[str]:
        """Return these sites, and those that somebody has disabled."""
        raise NotImplementedError

    def is_part(self, name: str) -> bool:
        """Return whether a path is among what starts and stops servers."""
        raise NotImplementedError


@cache
def watcher(name: str) -> Watcher:
    found: Watcher = import_module(f"{__package__}.{name}").WATCHER
    return found


def watchers() -> list[Watcher]:
    """Return all watchers."""
    return [watcher(name) for name in NAMES]


def starter() -> Starter:
    """Return the watcher that starts and stops servers.

    With a second one, a release would have to name the one that its files are for.
    """
    return next(each for each in watchers() if isinstance(each, Starter))
