"""The interface of web servers, and the list of those that are known.

A folder beside this module makes one known, by its name.  It has, in

* ``__init__.py``: ``SERVER``, its ``WebServer``: names, paths, and what a person types;
* ``machine.py``: ``Machine``, the machine's own one, as the protocol of that name says;
* ``config_lint.py``: ``check``, which has the real program judge a file of a release;
* ``control.py``: ``parser``, that of the command of a private one, if it has such;
* what the doctor asks of it alone, if anything: ``WebServer.checks`` and ``hello``.

They are imported as they are needed, by name: who only looks at a release loads none of them.
"""

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import argparse

    from pylonyard.system.rootfs import Tree

NAMES = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/machine.py")))
DEFAULT = "apache"
"""The web server of a site in an older release, which names none."""


class Command(NamedTuple):
    """A command of root, and the folders in which it makes and removes links."""

    words: tuple[str, ...]
    folders: tuple[str, ...]


class PublicName(NamedTuple):
    """The host name and address in the URL of a site."""

    site: str
    name: str
    is_new: bool
    """True if the web server has not served the site by it before."""


class Answering(NamedTuple):
    """The file that answers for a name, and its directive."""

    file: Path
    by: str


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """The state of a web server on a machine before an activation."""

    user: str
    """The account that it runs as."""
    is_installed: bool = True
    is_running: bool = False
    available_sites: frozenset[str] = frozenset()
    enabled_sites: frozenset[str] = frozenset()
    available_modules: frozenset[str] = frozenset()
    enabled_modules: frozenset[str] = frozenset()


class Site(Protocol):
    """The data of a site that a web server needs to enable it."""

    @property
    def name(self) -> str: ...
    @property
    def modules(self) -> tuple[str, ...]: ...
    @property
    def disable_sites(self) -> tuple[str, ...]: ...


class Log(Protocol):
    """The lines in a web server's logs since some moment."""

    def message(self) -> str:
        """Return the most telling complaint, in one line; "" if there is none."""


class Machine(Protocol):
    """A web server with the configuration in the ``/etc`` of a tree."""

    @property
    def pid(self) -> int | None:
        """Return its main process, if it runs."""

    @property
    def account(self) -> str:
        """Return its account."""

    @property
    def tools(self) -> Mapping[str, str]:
        """Return the variables that lead Debian's commands to the tree; {} on the machine."""

    @property
    def log_folder(self) -> Path:
        """Return root's folder of its logs, with those of the sites."""

    @property
    def error_log(self) -> Path: ...

    def site_log(self, name: str) -> Path:
        """Return the error log of a site."""

    def state(self) -> ServerState: ...

    def implied_names(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Return what else a command makes links of, beside the names in it."""

    def test(self) -> None:
        """Check its whole configuration.

        :raises ActivationError: if it refuses that
        """

    def expect_names(self, names: Iterable[PublicName]) -> None:
        """Check that no other site takes the requests for a site.

        :raises ActivationError: naming the file of who has, and the ways out
        """

    def first_answering(self, name: str, site: str) -> Answering | None:
        """Return what answers first for ``name`` in place of ``site``; None if nothing does.

        :raises ActivationError: if it refuses its configuration
        """

    def reload(self) -> None:
        """Reload or start it; return once it serves with its configuration.

        :raises ActivationError: if it does not
        """

    def stop(self) -> None:
        """Stop it, if we started it."""

    def logs(self, sites: Iterable[str]) -> Log:
        """Return an object that reads its new log lines, and those of sites."""


# What the doctor asks.


@dataclass(frozen=True)
class Finding:
    """The result of a check; ``ok`` is None if it could not be checked."""

    check: str
    ok: bool | None
    text: str
    advice: str = ""
    site: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def good(check: str, text: str) -> Finding:
    return Finding(check, True, text)


def bad(check: str, text: str, advice: str) -> Finding:
    return Finding(check, False, text, advice)


def unknown(check: str, why: str) -> Finding:
    return Finding(check, None, why)


NOT_LAID = "the site is not activated"
ACTIVATE = "bin/pylonyard activate"
ACTIVATE_FORCED = f"{ACTIVATE} --force-new"


class Checked(Protocol):
    """The data of a site that a web server's own checks need."""

    @property
    def tree(self) -> "Tree": ...
    @property
    def has_server(self) -> bool: ...
    @property
    def is_activated(self) -> bool: ...
    @property
    def module(self) -> Path | None: ...
    @property
    def home(self) -> Path: ...


@dataclass(frozen=True, kw_only=True)
class WebServer:
    """The names, files and commands of a web server."""

    name: str
    """Its name in ``site.json``, and of its folder here."""
    title: str
    """Its name in messages."""
    program: str
    """The program that checks a configuration."""
    package: str
    """The Debian package of the program."""
    service: str
    """Its name for ``service``."""
    folder: str
    """Its folder in ``/etc``."""
    suffix: str = ".conf"
    """The suffix of files in ``sites-available``, and of links in ``sites-enabled``."""
    shared: str = "(?!)"
    """A pattern of other files below ``folder`` that a release may have, for several sites."""
    loading: str = ""
    """A pattern (``glob``) of the files below ``folder`` that load modules, if any."""
    test: str
    """The command for a person to check the configuration."""
    graceful: str
    """The command for a person to reload it."""
    hosts: str
    """The command for a person to list its sites."""
    private: str = ""
    """Ends the name of the command of a site's private one, as in ``bin/<site>-httpd``, if it
    has such; ``<private>.conf`` is the file that this reads."""
    harmless: str = "(?!)"
    """A pattern of what is in its logs, and no reason to worry."""
    log_time: tuple[str, str] | None = None
    """How a line of its logs begins, and what ``strptime`` makes of its groups, joined by blanks;
    None for a date and time that the doctor knows."""

    @property
    def available(self) -> str:
        return f"{self.folder}/sites-available"

    @property
    def enabled(self) -> str:
        return f"{self.folder}/sites-enabled"

    def site_file(self, site: str) -> str:
        return f"{self.available}/{site}{self.suffix}"

    def link(self, site: str) -> str:
        return f"{self.enabled}/{site}{self.suffix}"

    def owns(self, name: str) -> bool:
        """Return whether a path is one of its folder."""
        return name.startswith(f"{self.folder}/")

    def is_shared(self, name: str) -> bool:
        """Return whether a file serves other sites as well."""
        return self.owns(name) and bool(re.fullmatch(self.shared, name[len(self.folder) + 1 :]))

    def may_have(self, name: str) -> bool:
        """Return whether a release may lay a file at a path."""
        sites = rf"{re.escape(self.available)}/[a-z][a-z0-9_-]*{re.escape(self.suffix)}"
        return self.is_shared(name) or bool(re.fullmatch(sites, name))

    def loading_files(self, root: Path) -> list[Path]:
        folder = root / self.folder[1:]
        return sorted(folder.glob(self.loading)) if self.loading else []

    @property
    def start(self) -> str:
        return f"service {self.service} start"

    @property
    def plain_reload(self) -> str:
        return f"service {self.service} reload"

    @property
    def safe_reload(self) -> str:
        return f"{self.test} && {self.plain_reload}"

    @property
    def safe_restart(self) -> str:
        """Return the command to restart it, only if its configuration is right."""
        return f"{self.test} && service {self.service} restart"

    # What differs between web servers. Pure: nothing is asked of the machine.

    def enable(self, site: str) -> Command:
        """Return the command that enables a site."""
        raise NotImplementedError

    def disable(self, site: str) -> Command:
        raise NotImplementedError

    def enable_modules(self, modules: Iterable[str]) -> Command:
        raise NotImplementedError

    def serves_by(self, content: bytes, name: str) -> bool:
        """Return whether a site's file says that visitors type ``name`` for it."""
        raise NotImplementedError

    def enable_commands(
        self,
        sites: Iterable[Site],
        seen: ServerState,
        laid: Collection[str],
        again: Collection[str],
    ) -> Iterator[Command]:
        """Yield the commands that enable sites, and disable those in ``disable-sites``.

        :param laid: the files that the release lays
        :param again: sites that had to give way to an earlier release
        :raises ActivationError: if that cannot be
        """
        theirs = list(sites)
        others = dict.fromkeys(name for site in theirs for name in site.disable_sites)
        yield from (self.disable(name) for name in others if name in seen.enabled_sites)
        yield from (self.enable(name) for name in sorted(again) if name not in others)
        yield from (self.enable(s.name) for s in theirs if s.name not in seen.enabled_sites)

    def drop_commands(self, name: str, seen: ServerState, *, is_ours: bool) -> Iterator[Command]:
        """Yield the commands to run before an installed file is removed.

        :param is_ours: whether nothing was there before it
        """
        stem = Path(name).stem
        if name == self.site_file(stem) and stem in seen.enabled_sites:
            yield self.disable(stem)

    def listens(self, content: str) -> list[tuple[int, bool]]:
        """Return each port of a private server, and whether it uses TLS, from its file."""
        return []

    def links(self, modules: Iterable[str]) -> frozenset[str]:
        """Return the links that exist because ``modules`` are enabled."""
        return frozenset()

    # The rest of its folder, imported as it is needed.

    def machine(self, tree: "Tree") -> Machine:
        """Return the web server with the configuration of a tree."""
        made: Machine = part(self.name, "machine").Machine(tree)
        return made

    def check(self, path: str, draft: Path, live: Path) -> None:
        """Have its program check a file of a release, whose other files name ``live``.

        :raises CommandError: with what it says
        """
        part(self.name, "config_lint").check(path, draft, live)

    def private_parser(self, site: str) -> "argparse.ArgumentParser":
        """Return the parser of ``bin/<site>-<private>``."""
        made: argparse.ArgumentParser = part(self.name, "control").parser(site)
        return made

    def checks(self) -> Mapping[str, Callable[[Checked], Iterator[Finding]]]:
        """Return the doctor's checks of it alone, by the names in their findings."""
        return {}

    def hello(self, site: Checked, folder: Path, port: int) -> list[str | Path]:
        """Return the words that serve ``hello.wsgi`` of a folder as it serves the application.

        Only asked if it loads applications itself.

        :param folder: where its configuration is made, and its log ``run/error.log``
        """
        raise NotImplementedError

    def private_command(self, site: str) -> str:
        return f"{site}-{self.private}"

    def command_text(self, command: Command) -> str:
        return shlex.join(command.words)


def part(name: str, inner: str) -> Any:
    return import_module(f"{__package__}.{name}.{inner}")


@cache
def server(name: str) -> WebServer:
    """Return a web server.

    :raises ValueError: if there is none of that name
    """
    if name not in NAMES:
        raise ValueError(f"expected a web server ({', '.join(NAMES)}), got {name!r}")
    found: WebServer = import_module(f"{__package__}.{name}").SERVER
    return found


def servers() -> list[WebServer]:
    """Return all web servers."""
    return [server(name) for name in NAMES]


def tools(tree: "Tree") -> dict[str, str]:
    """Return the variables that lead Debian's commands to a tree; {} on the machine itself."""
    if tree.is_machine:
        return {}
    found = (one.machine(tree).tools for one in servers())
    return {**{n: v for each in found for n, v in each.items()}, "DPKG_ROOT": str(tree.root)}
