"""Run ``bin/pylonyard audit``: compare a lock with a database of advisories, without a network.

The database is one in the OSV format: a JSON file for each advisory, as https://osv.dev exports
them for PyPI, also in a zip file. Whether a version is affected is decided as the format has it:
https://ossf.github.io/osv-schema/#evaluation.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from pylonyard.packages.lock import pylock
from pylonyard.packages.lock.pylock import Locked
from pylonyard.system import progress
from pylonyard.system.errors import UserError
from pylonyard.system.safe_files import json_object

ECOSYSTEM = "PyPI"
EXPORT = "https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip"
"""The address of a database with all advisories of this ecosystem, PyPA's included."""

FORMAT = 1
"""The version of the JSON object."""


@dataclass(frozen=True)
class Advisory:
    """What an advisory says of one project."""

    ids: frozenset[str]
    """Its own, and those by which other databases have it."""
    summary: str
    versions: frozenset[str]
    """The affected versions that it lists."""
    ranges: tuple[tuple[Mapping[str, str], ...], ...]
    """The events of each range of versions."""

    def affects(self, version: Version) -> bool:
        """Return whether a version is affected: listed, or in one of the ranges."""
        is_listed = any(_version(each) == version for each in self.versions)
        return is_listed or any(_is_inside(version, events) for events in self.ranges)

    @property
    def fixes(self) -> set[Version]:
        """The versions in which it was fixed."""
        fixed = (each["fixed"] for events in self.ranges for each in events if "fixed" in each)
        return {version for text in fixed if (version := _version(text))}


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:  # as setuptools took it, long ago
        return None


LOWEST = Version("0.dev0")
"""What an event has as "0": before any version."""


def _is_inside(version: Version, events: Iterable[Mapping[str, str]]) -> bool:
    """Return whether a version is in a range, going through its events in their order."""
    known = [
        (at, kind)
        for event in events
        for kind, text in event.items()
        if (at := LOWEST if text == "0" else _version(text))
    ]
    limits = [at for at, kind in known if kind == "limit"]
    if limits and not any(version < at for at in limits):
        return False
    inside = False
    for at, kind in sorted(known, key=lambda each: (each[0], each[1] == "introduced")):
        if kind == "introduced" and version >= at:
            inside = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside


@dataclass(frozen=True)
class Finding:
    """A locked distribution that is affected."""

    name: str
    version: str
    advisories: tuple[Advisory, ...]
    fixed: str
    """The lowest higher version that none of the advisories affects; empty if there is none."""

    @property
    def message(self) -> str:
        what = "; ".join(_message(each) for each in self.advisories)
        way = f"fixed in {self.fixed}" if self.fixed else "no version is known that fixes it"
        return f"{self.name} {self.version}: {what}; {way}"

    def as_object(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "fixed": self.fixed or None,
            "advisories": [
                {"ids": sorted(each.ids), "summary": each.summary} for each in self.advisories
            ],
        }


def _message(advisory: Advisory) -> str:
    def rank(name: str) -> tuple[bool, bool, str]:
        return not name.startswith("PYSEC"), not name.startswith("GHSA"), name

    first, *others = sorted(advisory.ids, key=rank)
    named = f"{first} ({', '.join(others)})" if others else first
    return f"{named} {advisory.summary}".strip()


def findings(
    locked: Iterable[Locked], known: Mapping[str, Sequence[Advisory]]
) -> Iterator[Finding]:
    """Yield the locked distributions that advisories affect.

    :param known: the advisories of each project, by its canonical name
    """
    for package in sorted(locked, key=lambda each: (each.name, each.version)):
        # A build of somebody's own, 1.0+ours, has the defects of 1.0.
        version, all_of_it = (
            _version(package.version.partition("+")[0]),
            known.get(package.name, ()),
        )
        affecting = [each for each in all_of_it if version and each.affects(version)]
        if version and affecting:
            fixes = sorted({fix for each in affecting for fix in each.fixes if fix > version})
            good = (fix for fix in fixes if not any(each.affects(fix) for each in all_of_it))
            fixed = next(map(str, good), "")
            yield Finding(
                package.name,
                package.version,
                tuple(sorted(_united(affecting), key=_message)),
                fixed,
            )


def _united(advisories: Iterable[Advisory]) -> Iterator[Advisory]:
    """Yield advisories, those of several databases on one defect as one."""
    left = list(advisories)
    while left:
        first, ids = left.pop(0), set[str]()
        same = [first]
        while ids != (ids := {name for each in same for name in each.ids}):
            same += [each for each in left if each.ids & ids]
            left = [each for each in left if not each.ids & ids]
        summary = next((each.summary for each in same if each.summary), "")
        yield Advisory(frozenset(ids), summary, frozenset(), ())


# The database.


def read(database: Path, wanted: Iterable[str]) -> dict[str, list[Advisory]]:
    """Return the advisories on projects, by canonical name.

    :param database: an advisory, a folder of them, or a zip file
    :raises UserError: if it has none that can be read
    """
    names, found, is_empty = set(wanted), dict[str, list[Advisory]](), True
    for place, content in _files(database):
        is_empty = False
        try:
            record = json_object(content)
            for name, advisory in _advisories(record):
                if name in names:
                    found.setdefault(name, []).append(advisory)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{place}: expected an advisory in the OSV format: {error!r}"
            ) from error
    if is_empty:
        raise UserError(
            f"{database}: expected advisories in the OSV format (*.json, or a zip file of them), "
            f"got none; one of all for PyPI is {EXPORT}"
        )
    return found


def _files(database: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the place and the content of each file."""
    try:
        if database.is_dir():
            with progress.of("Reading advisories"):
                for path in sorted(database.rglob("*.json")):
                    yield str(path), path.read_bytes()
        elif database.suffix == ".json":
            yield str(database), database.read_bytes()
        elif database.suffix == ".zip" or not database.exists():
            with zipfile.ZipFile(database) as archive, progress.of("Reading advisories"):
                for name in archive.namelist():
                    if name.endswith(".json"):
                        yield f"{database}, {name}", archive.read(name)
    except OSError as error:
        raise UserError(f"{error.filename or database}: {error.strerror}") from error
    except zipfile.BadZipFile as error:
        raise UserError(f"{database}: expected a zip file: {error}") from error


def _advisories(record: Mapping[str, Any]) -> Iterator[tuple[str, Advisory]]:
    """Yield the canonical name of each project of this ecosystem, and its record."""
    if record.get("withdrawn"):
        return
    ids = frozenset([record["id"], *record.get("aliases", ())])
    for affected in record.get("affected", ()):
        package = affected.get("package", {})
        if package.get("ecosystem", "").partition(":")[0] != ECOSYSTEM:
            continue
        ranges = (each for each in affected.get("ranges", ()) if each["type"] == "ECOSYSTEM")
        yield (
            canonicalize_name(package["name"]),
            Advisory(
                ids,
                " ".join(record.get("summary", "").split()),
                frozenset(affected.get("versions", ())),
                tuple(tuple(each["events"]) for each in ranges),
            ),
        )


def command(file: Path, database: Path, *, as_json: bool) -> int:
    """Print which distributions of a lock are affected; return 1 if any is, else 0.

    :raises UserError: if the lock or the database cannot be read
    """
    try:
        packages = pylock.read(file).packages
    except pylock.LockError as error:
        raise UserError(str(error)) from error
    known = read(database, {package.name for package in packages})
    found = list(findings(packages, known))
    progress.clear()
    if as_json:
        objects = [each.as_object() for each in found]
        print(json.dumps({"version": FORMAT, "lock": str(file), "affected": objects}, indent=1))
        return bool(found)
    for each in found:
        print(each.message)
    print(f"{len(found) or 'None'} of the {len(packages)} distributions in {file} affected.")
    return bool(found)
