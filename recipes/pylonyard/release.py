"""Recipe ``release``: what the other parts staged, checked, goes live as a whole.

=============  ========================  =========================================
Option         Type, default             Meaning
=============  ========================  =========================================
sites          section names             The sites to release: sections of the
                                         recipe ``site``.
keep           1 to 1000, ``5``          How many releases to keep for a rollback.
unchecked      ``refuse``, ``allow``,    What to do with a file whose validator is
               ``default`` (default)     not on this machine; ``default`` refuses it
                                         unless all sites are in development.
=============  ========================  =========================================

Publishes ``current`` (the link to the live release).
"""

import hashlib
import json
import logging
import os
import pwd
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zc.buildout import UserError

from pylonyard import scripts, setup_app, values
from pylonyard.errors import ArtifactError, CommandError, OptionError
from pylonyard.layout import Layout
from pylonyard.options import option
from pylonyard.recipe import Recipe
from pylonyard.releases import MANIFEST, Releases, link_commands, occupied
from pylonyard.validators import Draft, Validator, judging
from pylonyard.writing import Artifact, Link, files_below, mode_of

log = logging.getLogger("pylonyard")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a section of this recipe may say."""

    sites: tuple[str, ...] = option(values.listed(values.section_name))
    keep: int = option(values.whole(1, 1000, "(releases)"), default="5")
    unchecked: str = option(values.one_of("refuse", "allow", "default"), default="default")


@dataclass(frozen=True)
class Site:
    """What a release knows of a site."""

    name: str
    user: str
    environment: str
    sections: tuple[str, ...]
    address: str
    start: str
    setup: setup_app.Setup | None


class Release(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Have buildout initialise every part of every site, in order."""
        if not self.settings.sites:
            raise OptionError(self.name, ["sites: expected at least one section, got ''"])
        self.sites = [self._site(section) for section in self.settings.sites]
        names = [site.name for site in self.sites]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise OptionError(
                self.name, [f"sites: expected a name for each, got {', '.join(doubled)} twice"]
            )
        parts = [section for site in self.sites for section in site.sections]
        self.stagings = {p: Path(self.buildout[p]["location"]) for p in parts}
        self.releases = Releases(self.layout.releases, self.layout.current)

    def _site(self, section: str) -> Site:
        # Not buildout.get: that takes any section missing, also deeper, for this one.
        if section not in self.buildout._raw:
            raise OptionError(self.name, [f"sites: expected a section, got {section!r}"])
        options = self.buildout[section]
        if "sections" not in options:
            problem = f"sites: expected a section of recipe pylonyard:site, got {section!r}"
            raise OptionError(self.name, [problem])
        sections = tuple(options["sections"].split())
        published = [self.buildout[name] for name in sections]
        served = {key: part[key] for part in published for key in part if key in _SERVED}
        return Site(
            name=options["name"],
            user=options["user"],
            environment=options["environment"],
            sections=sections,
            address=f"http://127.0.0.1:{served.get('httpd-port') or options['port']}/"
            if options["mode"] != "proxy"
            else f"http://127.0.0.1:{options['port']}/",
            start=options["name"] if options["mode"] == "proxy" else f"{options['name']}-httpd",
            setup=_setup(options, published),
        )

    def artifacts(self) -> Iterator[Artifact | Link]:
        layout = self.layout
        words = [repr(str(path)) for path in (layout.directory, layout.bin)]
        yield Artifact(
            "bin/pylonyard", scripts.tool_script("pylonyard.admin", *words), 0o755
        )

    def published(self) -> Mapping[str, Any]:
        return {"current": self.layout.current}

    def install(self) -> Iterable[str]:
        """Make what was staged the current release, unless it is already."""
        created = super().install()
        files = self._collected()
        number = self.releases.current_number()
        if number is not None and _same(files, self.releases.path(number)):
            log.info("Release %s is current; nothing has changed.", number)
        else:
            number = self._released(files)
            log.info("Release %s is current.", number)
        self._link_commands()
        for site in self.sites:
            log.info("  bin/%s start   serves it at %s", site.start, site.address)
        return created

    update = install

    def _link_commands(self) -> None:
        try:
            link_commands(self.layout.bin, self.layout.current)
        except OSError as error:
            where = error.filename or self.layout.bin
            raise UserError(f"[{self.name}] cannot write {where}: {error.strerror}") from error

    def _collected(self) -> dict[str, tuple[str, Path]]:
        """Return every staged file: its path in the release -> part, staged file."""
        files: dict[str, tuple[str, Path]] = {}
        for part, staging in {**self.stagings, self.name: self.location}.items():
            for source in files_below(staging):
                path = source.relative_to(staging).as_posix()
                if path in files and not _equal(source, files[path][1]):
                    raise UserError(
                        f"[{part}] {path}: expected one content, "
                        f"but [{files[path][0]}] has another for it"
                    )
                files.setdefault(path, (part, source))
        self._check_commands(files)
        return files

    def _check_commands(self, files: Iterable[str]) -> None:
        names = [path.removeprefix("bin/") for path in files if path.startswith("bin/")]
        if taken := occupied(self.layout.bin, self.layout.current, names):
            raise UserError(
                f"[{self.name}] {self.layout.bin / taken[0]}: expected none, or a link of ours, "
                "but there is a file of somebody else's; remove it"
            )

    def _released(self, files: Mapping[str, tuple[str, Path]]) -> int:
        try:
            with self.releases.draft() as folder:
                self._copy(files, folder)
                passed = self._judged(files, folder)
                for site in self.sites:
                    if site.setup:
                        setup_app.once(site.setup, folder, self.layout)
                _write_manifest(folder, files, passed)
                number = self.releases.publish(folder)
            self.releases.prune(self.settings.keep)
        except OSError as error:
            where = error.filename or self.layout.releases
            raise UserError(f"[{self.name}] cannot write {where}: {error.strerror}") from error
        return number

    def _copy(self, files: Mapping[str, tuple[str, Path]], folder: Path) -> None:
        groups = {site.name: pwd.getpwnam(site.user).pw_gid for site in self.sites}
        for path, (_, source) in files.items():
            target = folder / path
            _make_folders(target.parent, folder)
            shutil.copyfile(source, target, follow_symlinks=False)
            if not target.is_symlink():
                mode = mode_of(source)
                if mode & 0o040 and not mode & 0o004 and os.geteuid() == 0:
                    os.chown(target, -1, groups[path.partition("/")[0]])
                target.chmod(mode)

    def _judged(
        self, files: Mapping[str, tuple[str, Path]], folder: Path
    ) -> dict[str, list[str]]:
        """Return the validators that each file passed.

        :raises ArtifactError: if one was refused
        """
        draft = Draft(folder, self.layout.current)
        passed: dict[str, list[str]] = {}
        for path, (part, _) in files.items():
            for validator in judging(path):
                if not self._is_to_judge(validator, part, path):
                    continue
                try:
                    validator.check(draft, path)
                except CommandError as error:
                    reason = error.reason.replace(str(folder), str(self.layout.current))
                    raise ArtifactError(part, path, validator.name, reason) from error
                passed.setdefault(path, []).append(validator.name)
        return passed

    def _is_to_judge(self, validator: Validator, part: str, path: str) -> bool:
        if validator.found():
            return True
        lenient = all(site.environment == "development" for site in self.sites)
        allowed = self.settings.unchecked == "allow" or (
            self.settings.unchecked == "default" and lenient
        )
        if validator.needed and not allowed:
            raise ArtifactError(
                part,
                path,
                validator.name,
                f"it is not on this machine; install it with: apt-get install "
                f"{validator.package}, or set [{self.name}] unchecked = allow",
            )
        return False


_SERVED = frozenset({"httpd-port"})


def _setup(options: Mapping[str, str], published: Iterable[Any]) -> setup_app.Setup | None:
    for part in published:
        if part.get("setup") == "true":
            return setup_app.Setup(options["name"], options["user"], part["database"])
    return None


def _make_folders(folder: Path, below: Path) -> None:
    if folder != below and not folder.is_dir():
        _make_folders(folder.parent, below)
        folder.mkdir()
        folder.chmod(0o755)


def _equal(one: Path, other: Path) -> bool:
    """Tell whether two files, or links, are the same to a reader."""
    try:
        if one.is_symlink() or other.is_symlink():
            return os.readlink(one) == os.readlink(other)
        return mode_of(one) == mode_of(other) and one.read_bytes() == other.read_bytes()
    except OSError:
        return False


def _same(files: Mapping[str, tuple[str, Path]], release: Path) -> bool:
    there = {path.relative_to(release).as_posix() for path in files_below(release)}
    return there == {*files, MANIFEST} and all(
        _equal(source, release / path) for path, (_, source) in files.items()
    )


def _write_manifest(
    folder: Path,
    files: Mapping[str, tuple[str, Path]],
    passed: Mapping[str, list[str]],
) -> None:
    content = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "files": {
            path: {**_description(folder / path), "part": part, "passed": passed.get(path, [])}
            for path, (part, _) in sorted(files.items())
        },
    }
    target = folder / MANIFEST
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    target.chmod(0o644)


def _description(path: Path) -> dict[str, str]:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return {"link": os.readlink(path)}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"sha256": digest, "mode": f"{stat.S_IMODE(status.st_mode):04o}"}


__all__ = ["Layout", "Options", "Release"]
