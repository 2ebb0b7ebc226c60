"""Read and write lock files (PEP 751), which list the allowed files of distributions.

A package of such a file is a distribution at one version; each of its files has a
SHA-256.  A marker says for which interpreters the package is, the tags of a wheel's
name for which platforms.
"""

import hashlib
import importlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from packaging.markers import Marker
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockValidationError,
)
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, NormalizedName, parse_wheel_filename
from packaging.version import Version

from pylonyard.packages.metadata import identified
from pylonyard.system.errors import PylonyardError

_File = PackageWheel | PackageSdist | PackageArchive

BUILD_GROUP = "build"
"""The dependency group (PEP 735) of what only builds of source trees need."""
BUILD_MARKER = f"'{BUILD_GROUP}' in dependency_groups"

OUR_NAME = "pylonyard"
"""What ``created-by`` of our locks says."""


class LockError(PylonyardError, ValueError):
    """A lock file cannot be read, or lacks something."""


@dataclass(frozen=True, kw_only=True)
class Locked:
    """A distribution in a lock."""

    name: NormalizedName
    version: str
    wheels: Mapping[str, str]
    """File name -> SHA-256."""
    sdist: tuple[str, str] | None = None
    """File name, SHA-256."""
    marker: str | None = None
    requires_python: SpecifierSet = SpecifierSet()
    places: Mapping[str, str] = field(default_factory=dict, compare=False)
    """File name -> URL, or path on this machine."""
    line: int = field(default=0, compare=False)
    """The line of the lock where it begins; 0 if unknown."""
    unverifiable: str = ""
    """Why no file of it can be verified; empty if one can."""
    used: Mapping[str, str] = field(default_factory=dict)
    """The file that the locked environment uses: ``file``, ``interpreter``, ``platform``."""

    @property
    def is_for_builds(self) -> bool:
        """Return whether only builds of source trees need it."""
        return "dependency_groups" in (self.marker or "")

    @property
    def files(self) -> dict[str, str]:
        """All files, with their SHA-256."""
        return {**self.wheels, **dict([self.sdist] if self.sdist else [])}

    def wheel_for(self, tags: Mapping[Tag, int]) -> str | None:
        """Return the best of the wheels.

        :param tags: those that the interpreter supports, with their ranks
        """
        ranked = [
            (min(tags[tag] for tag in fitting), name)
            for name in self.wheels
            if (fitting := parse_wheel_filename(name)[3] & tags.keys())
        ]
        return min(ranked)[1] if ranked else None


@dataclass(frozen=True)
class Lock:
    """A lock file and its contents."""

    path: Path
    packages: tuple[Locked, ...]
    maker: str = OUR_NAME
    """The program that wrote it."""
    requires_python: SpecifierSet = SpecifierSet()
    environments: tuple[Marker, ...] = ()
    """The interpreters and platforms that it is for; empty if it is for any."""
    choices: Mapping[str, frozenset[str]] = field(default_factory=dict, compare=False)
    """Its ``extras`` and ``dependency_groups``; what requirements do not ask for is left."""

    def expect_for(self, environment: Mapping[str, str]) -> None:
        """Check that the lock is for an interpreter.

        :raises LockError: if it says otherwise
        """
        python = environment["python_full_version"]
        if not self.requires_python.contains(python, prereleases=True):
            raise LockError(
                f"expected Python {self.requires_python}, as {self.path} says, got {python}"
            )
        if self.environments and not any(self._is_for(m, environment) for m in self.environments):
            listed = " or ".join(map(str, self.environments))
            raise LockError(
                f"expected an environment of {self.path} ({listed}), got Python {python}"
            )

    def _is_for(self, marker: Marker, environment: Mapping[str, str]) -> bool:
        return marker.evaluate({**environment, **self.choices}, context="lock_file")

    def packages_for(self, environment: Mapping[str, str]) -> list[Locked]:
        """Return the distributions that are for an interpreter.

        :param environment: what markers are about, as ``python_version``
        """
        python = environment["python_full_version"]
        return [
            package
            for package in self.packages
            if (package.marker is None or self._is_for(Marker(package.marker), environment))
            and package.requires_python.contains(python, prereleases=True)
        ]

    def find(self, name: str, environment: Mapping[str, str], wanted: Requirement) -> Locked | None:
        """Return the distribution of a canonical name, one that is ``wanted`` if there is."""
        named = [package for package in self.packages if package.name == name]
        named.sort(key=lambda package: package.is_for_builds)
        found = replace(self, packages=tuple(named)).packages_for(environment)
        # The tools may have one version, and an application another.
        fitting = [
            p for p in found if p.version and wanted.specifier.contains(p.version, prereleases=True)
        ]
        return next(iter([*fitting, *found]), None)

    def summary(self, environment: Mapping[str, str]) -> str:
        """Return a digest of all distributions that are locked for an interpreter."""
        packages = self.packages_for(environment)
        held = [[each.name, each.version, sorted(each.files.items())] for each in packages]
        return hashlib.sha256(json.dumps(held).encode()).hexdigest()

    def digests(self, filename: str) -> set[str] | None:
        """Return the allowed SHA-256 of a file; None if no distribution in the lock has its name.

        A distribution that is locked, but not with this file, has no digest for it.
        """
        for package in self.packages:
            if filename in package.files:
                return {package.files[filename]}
        try:
            name = parse_wheel_filename(filename)[0]
        except InvalidWheelFilename:
            return None
        return set() if any(package.name == name for package in self.packages) else None


def read(path: Path) -> Lock:
    """Read a lock file, whichever program wrote it.

    :raises LockError: if it is no lock of this format
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = Pylock.from_dict(_toml(text))
        begins = re.finditer(r"(?m)^\s*\[\[\s*packages\s*\]\]", text)
        lines = [text.count("\n", 0, found.end()) + 1 for found in begins]
        if len(lines) != len(content.packages):  # it is spelled in another way
            lines = [0] * len(content.packages)
        packages = map(_locked, content.packages, lines, repeat(path.parent))
        return Lock(
            path,
            tuple(packages),
            content.created_by,
            content.requires_python or SpecifierSet(),
            tuple(content.environments or ()),
            {
                "extras": frozenset(content.extras or ()),
                "dependency_groups": frozenset(
                    [*(content.dependency_groups or ()), *(content.default_groups or ())]
                ),
            },
        )
    except OSError as error:
        raise LockError(f"expected a lock, got {error.strerror}: {path}") from error
    except (ValueError, KeyError, RecursionError, PylockValidationError) as error:
        why = str(error) or "nested too deeply"
        raise LockError(f"expected a lock as of PEP 751, got {path}: {why}") from error


def _toml(text: str) -> dict[str, Any]:
    # Python 3.10 has none of its own.
    name = "tomllib" if sys.version_info >= (3, 11) else "pip._vendor.tomli"
    content: dict[str, Any] = importlib.import_module(name).loads(text)
    return content


def _locked(package: Package, line: int, folder: Path) -> Locked:
    given = (*(package.wheels or ()), package.sdist, package.archive)
    files = [file for file in given if file]
    known = {_filename(each): each for each in files if "sha256" in each.hashes}
    digests = {name: each.hashes["sha256"] for name, each in known.items()}
    sources = [name for name in digests if not name.endswith(".whl")]
    version = str(package.version or "") or _version_of(digests)
    return Locked(
        name=package.name,
        version=version,
        wheels={name: digest for name, digest in digests.items() if name.endswith(".whl")},
        sdist=(sources[0], digests[sources[0]]) if sources else None,
        marker=_marker(str(package.marker)) if package.marker else None,
        requires_python=package.requires_python or SpecifierSet(),
        places={
            name: str(folder / each.path) if each.path else str(each.url)
            for name, each in known.items()
        },
        line=line,
        unverifiable="" if digests and version else _why_not(package, files),
        used=(package.tool or {}).get("pylonyard", {}),
    )


def _filename(file: _File) -> str:
    """Return the name of a file, as an index has it: that of its URL, if it tells what it is."""
    last = unquote(urlparse(file.url or file.path or "").path).rpartition("/")[2]
    named = last if isinstance(file, PackageArchive) else file.filename
    return last if identified(last) else named


def _version_of(names: Iterable[str]) -> str:
    found = (identified(name) for name in names)
    return next((each.version for each in found if each), "")


def _why_not(package: Package, files: Sequence[_File]) -> str:
    """Return why no file of a distribution can be verified."""
    if package.vcs:
        return f"a checkout of {package.vcs.url or package.vcs.path} has no SHA-256"
    if package.directory:
        return f"the folder {package.directory.path} has no SHA-256"
    if package.archive and "sha256" in package.archive.hashes:
        return "the name of its archive tells no version"
    if not files:
        return "it has no file"
    return (
        f"its files have {', '.join(sorted({h for f in files for h in f.hashes}))}, and no sha256"
    )


def _marker(text: str) -> str:
    return text.replace('"', "'")  # as people write one, in the strings of TOML


def text(packages: Iterable[Locked], folder: str) -> str:
    """Return a lock file.

    :param folder: where the files are, relative to that of the lock
    """
    ordered = sorted(packages, key=lambda each: (each.name, each.version))
    lock = Pylock(
        lock_version=Version("1.0"),
        created_by=OUR_NAME,
        dependency_groups=[BUILD_GROUP] if any(each.is_for_builds for each in ordered) else None,
        packages=[_package(each, folder) for each in ordered],
    )
    lock.validate()
    content = dict(lock.to_dict())
    entries = content.pop("packages")
    lines = [f"{key} = {_value(value)}" for key, value in content.items()]
    for entry in entries:
        lines += ["", *_lines(entry)]
    return "\n".join([*lines, ""])


def _package(locked: Locked, folder: str) -> Package:
    wheels = [
        PackageWheel(path=os.path.join(folder, name), hashes={"sha256": digest})
        for name, digest in sorted(locked.wheels.items())
    ]
    sdist = None
    if locked.sdist:
        name, digest = locked.sdist
        sdist = PackageSdist(path=os.path.join(folder, name), hashes={"sha256": digest})
    return Package(
        name=locked.name,
        version=Version(locked.version),
        marker=Marker(locked.marker) if locked.marker else None,
        sdist=sdist,
        wheels=wheels or None,
        tool={"pylonyard": dict(locked.used)} if locked.used else None,
    )


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a distribution, with one wheel on each, which are easy to compare."""
    yield "[[packages]]"
    for key, value in entry.items():
        if key == "wheels":
            yield from ("wheels = [", *(f"    {_value(wheel)}," for wheel in value), "]")
        elif key != "tool":
            yield f"{key} = {_value(_marker(value) if key == 'marker' else value)}"
    for name, values in entry.get("tool", {}).items():
        yield f"[packages.tool.{name}]"
        yield from (f"{key} = {_value(value)}" for key, value in values.items())


def _value(value: str | list[str] | Mapping[str, Any]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if not isinstance(value, str):
        return f"{{{', '.join(f'{key} = {_value(held)}' for key, held in value.items())}}}"
    # A JSON string is a basic string of TOML too, but for DEL, which no name has.
    return json.dumps(value, ensure_ascii=False)
