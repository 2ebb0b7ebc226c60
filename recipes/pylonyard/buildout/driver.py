"""Start zc.buildout with our defaults, one lock, and a safe record."""

import functools
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pylonyard
from pylonyard.buildout import patches

# isort: split
# patches.py is the first to import zc.buildout.
from zc.buildout import UserError, buildout, easy_install

from pylonyard.buildout import complaints, last_run
from pylonyard.config import buildout_files, run_state
from pylonyard.config.inputs import Watch
from pylonyard.config.layout import DEFAULTS, OUR_EXTENSION, Layout, profile
from pylonyard.config.run_state import Digests, RunState
from pylonyard.environments import cache_usage, site_account
from pylonyard.packages import credentials, downloads, integrity, wheels
from pylonyard.system import accounts, atomic, errors
from pylonyard.system.errors import LOOK_FIRST, reason
from pylonyard.system.options import near
from pylonyard.system.safe_files import finish
from pylonyard.system.subprocesses import use_utf8

log = logging.getLogger("pylonyard")


@contextmanager
def in_one_line(run: Any = None) -> Iterator[None]:
    """Report errors that a user can correct in one line, not as internal errors."""
    try:
        yield
    except Exception as error:
        line = complaints.explain(error, run) or errors.limit_reached(error) or None
        if isinstance(error, OSError) and error.errno in atomic.UNWRITABLE:
            way = accounts.recovery_advice(error) or "correct that, and run again"
            line = f"cannot write {reason(error, os.getcwd())}; {way}"
        if line is None or (isinstance(error, UserError) and str(error) == line):
            raise
        raise UserError(credentials.KNOWN.take(line)) from error


class Options(buildout.Options):
    """A section, without the credentials of the addresses in it."""

    def __init__(self, run: Any, section: str, data: dict[str, str]) -> None:
        take_credentials(data)
        super().__init__(run, section, data)
        if section == "buildout":
            run._links = data.get("find-links", "").split()

    def _do_extend_raw(self, *words: Any) -> Any:
        return take_credentials(super()._do_extend_raw(*words))

    def _dosub(self, option: str, text: str) -> None:
        super()._dosub(option, text)
        take_credentials(self._cooked)

    def get(self, option: str, default: Any = None, seen: Any = None) -> Any:
        """Return a value; one may be put together from others, so it is looked at here, too."""
        value = super().get(option, default, seen)
        return take_credentials({option: value})[option]


def take_credentials(options: dict[str, str]) -> dict[str, str]:
    """Remove the credentials from the addresses among the options of a section; return them."""
    for name in credentials.OPTIONS:
        if options.get(name):
            options[name] = credentials.KNOWN.take(options[name])
    return options


class Buildout(patches.Buildout):
    """One run of ``bin/buildout``."""

    watch: Watch | None = None
    """The record of the run's inputs, if ``bin/buildout`` started it."""
    profile: Path | None = None
    """The profile below the configuration, if the extension adds one."""
    Options = Options

    def __init__(self, *words: Any, **named: Any) -> None:
        self.state = RunState.of(self)
        self.state.watch = self.watch
        self._last: list[str] = []
        self.configuration = os.path.basename(words[0] if words else "buildout.cfg")
        unpack = functools.partial(unpack_wheel, locked=self.state.locked)
        easy_install.UNPACKERS[".whl"] = unpack
        with in_one_line(self):
            self._read(*words, **named)
            if OUR_EXTENSION in self._extensions() and not self.profile:
                self.profile = profile()
                self._read(*words, **named)
            self.files.check(self, words[1] if len(words) > 1 else ())
        if self.profile:  # Do not load it: this process does already what the extension does.
            others = [name for name in self._extensions() if name != OUR_EXTENSION]
            self["buildout"]["extensions"] = "\n".join(others)

    def _read(self, *words: Any, **named: Any) -> None:
        self.files = buildout_files.Files(self.profile)
        patches.read_through(self.files)
        super().__init__(*words, **named)

    def __getitem__(self, section: str) -> Any:
        """Return a section; make the copies for a further site before the first of them is read."""
        if section not in self._data and (found := run_state.site_and_role(self, section)):
            super().__getitem__(found[0])
        return super().__getitem__(section)

    def _expect_sections(self, names: Sequence[str]) -> None:
        """Refuse to install a part that is no section.

        :raises zc.buildout.UserError: naming the likely section
        """
        for name in names:
            if name in self._raw or run_state.site_and_role(self, name):
                continue
            meant = next(self._by_name_of_site(name), "")
            other = f"; its section is [{meant}]" if meant else near(name, self._raw)
            raise UserError(f"install {name}: there is no section [{name}]{other}")

    def _by_name_of_site(self, part: str) -> Iterator[str]:
        """Yield the section that ``part`` names by the name of a site, not by its section."""
        for site in self._raw:
            options = run_state.resolved(self, site)
            name = options.get("name", "")
            if run_state.recipe_name(options) == "site" and name:
                sections = {f"{name}-{role}": role for role in run_state.roles(self, site)}
                if part in (name, *sections):
                    yield run_state.role_section(site, sections[part]) if part != name else site

    def _extensions(self) -> list[str]:
        named: str = self["buildout"].get("extensions", "")
        return named.split()

    def say_last(self, line: str) -> None:
        """Print a line after all others."""
        self._last.append(line)

    def annotate(self, args: Any = None) -> None:
        """Print where each option comes from, without the credentials in addresses."""
        for section in self._annotated.values():
            for key in section.values():
                for each in (key, *key.history):
                    each.value = credentials.KNOWN.take(str(each.value))
        super().annotate(args)

    def install(self, args: Any) -> None:
        """Run buildout, one run at a time."""
        layout = Layout.of(self)
        with in_one_line(self):
            site_account.expect_writable(layout)
            self.state.locks.hold_sandbox(layout.directory)
            self.state.locks.share_cache(layout.cache)
            self.record.note_release()
            self._expect_sections(args)
            super().install(args)
        for line in self._last:
            log.info("%s", line)
        last_run.forget(layout.directory)
        try:
            self.record.keep_copy()
            sweep(layout)
            self._record_use(layout)
            if not args:
                stores = cache_usage.Stores(layout.cache, layout.eggs)
                needs = functools.partial(cache_usage.needs, layout.directory, stores, ["parts"])
                last_run.store(self, self.state.watch, layout, needs)
        except OSError as error:
            # The release is current; a run that fails now would say otherwise.
            where = error.filename or layout.directory
            log.warning("cannot write %s: %s.", where, error.strerror)

    def _develop(self) -> Any:
        """Make what ``develop`` names; offline, zc.buildout would have pip ask the index."""
        dist = Layout.of(self).dist
        try:
            with pip_from(dist) if self.offline else nullcontext():
                return super()._develop()
        except Exception as error:
            failed = re.search(r"(?s)^Failed to run command:.*'file://(.+?)'", str(error))
            if not failed:
                raise
            needed = f"; offline, what builds it has to be in {dist}" if self.offline else ""
            raise UserError(
                f"[buildout] develop: cannot build {unquote(failed[1])}: see pip's lines{needed}"
            ) from error

    def _record_use(self, layout: Layout) -> None:
        pins = self.get(self["buildout"]["versions"]) or {}
        stores = cache_usage.Stores(layout.cache, layout.eggs)
        if not cache_usage.record_needs(layout.directory, stores, pins):
            log.warning(
                "%s cannot be written, so the cache does not know that this sandbox uses it.",
                layout.cache / cache_usage.USERS,
            )


@contextmanager
def pip_from(folder: Path) -> Iterator[None]:
    """Have the pip that other code starts take all it installs from a folder."""
    own = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": folder.as_uri()}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def sweep(layout: Layout) -> None:
    """Remove temporary folders of killed runs, in the cache and among the releases."""
    cached = (layout.eggs, layout.environments, layout.projects, layout.dist)
    for store in (*cached, layout.cache / "mod_wsgi", layout.releases):
        atomic.sweep(store)


def unpack_wheel(
    wheel: str, destination: str, locked: Mapping[Path, Digests] | None = None
) -> None:
    """Unpack a wheel for zc.buildout, which would start pip for each one.

    :param locked: the locks with which it has to agree
    :raises zc.buildout.UserError: if it is damaged, or not what a lock names
    """
    try:
        _check_locks(Path(wheel), locked or {})
        wheels.unpack(Path(wheel), Path(destination))
    except wheels.WheelError as error:
        is_aside = isinstance(error, integrity.RefusedError) and error.aside
        what = "run this again" if is_aside else f"{LOOK_FIRST}, and run this again"
        raise UserError(f"{error}; {what}") from error


def _check_locks(wheel: Path, locked: Mapping[Path, Digests]) -> None:
    """Refuse a wheel of a distribution that is locked, unless it is the locked file."""
    for digests_of in locked.values():
        digests = digests_of(wheel.name)
        if digests is not None:
            integrity.check_file(wheel, digests, wheel.parent.parent)


def prepare(watch: Watch | None = None, profile: Path | None = None) -> None:
    """Give zc.buildout our defaults, our patches, and our way to unpack wheels."""
    downloads.install()
    patches.apply(DEFAULTS)
    easy_install.UNPACKERS[".whl"] = unpack_wheel
    buildout.Buildout = type("Buildout", (Buildout,), {"watch": watch, "profile": profile})


def _is_verbose(words: Sequence[str]) -> bool:
    return any(re.fullmatch("-[A-Za-z]*v[A-Za-z]*", word) for word in words)


def main(directory: Path, watch: Watch | None = None, profile: Path | None = None) -> None:
    """Run zc.buildout on the command line's arguments.

    :param directory: the checkout, or the project, where the reason of a failed run is recorded
    :param watch: records the inputs of the run
    :param profile: a profile below the configuration, as if that extended it
    """
    # On a full disk, where no message can be written, a traceback of logging does not help.
    logging.raiseExceptions = False
    use_utf8()
    words = sys.argv[1:]
    if "--version" in words:
        print(f"Pylonyard {pylonyard.__version__}, zc.buildout {version('zc.buildout')}")
        sys.exit(finish("buildout", 0))
    if "--help-all" in words:
        sys.argv[1:] = ["--help"]
    prepare(watch, profile)

    def note(error: BaseException | None) -> None:
        last_run.note(directory, credentials.KNOWN.take(str(error)))

    patches.tell_errors(note, verbose=_is_verbose(sys.argv[1:]))
    buildout.main(sys.argv[1:])
