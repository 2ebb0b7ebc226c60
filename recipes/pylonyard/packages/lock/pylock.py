"""Read and write lock files (PEP 751), which list the allowed files of distributions.

A package of such a file is a distribution at one version; each of its files has a
SHA-256.  A marker says for which interpreters the package is, the tags of a wheel's
name for which platforms.
"""

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.pylock import (
    Package,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockValidationError,
)
from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, NormalizedName, parse_wheel_filename
from packaging.version import Version

from pylonyard.system.errors import PylonyardError


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
    used: Mapping[str, str] = field(default_factory=dict)
    """The file that the locked environment uses: ``file``, ``interpreter``, ``platform``."""

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

    def packages_for(self, environment: Mapping[str, str]) -> list[Locked]:
        """Return the distributions that are for an interpreter.

        :param environment: what markers are about, as ``python_version``
        """
        return [
            package
            for package in self.packages
            if package.marker is None or Marker(package.marker).evaluate(dict(environment))
        ]

    def find(self, name: str, environment: Mapping[str, str], wanted: Requirement) -> Locked | None:
        """Return the distribution of a canonical name, one that is ``wanted`` if there is."""
        named = [package for package in self.packages if package.name == name]
        found = Lock(self.path, tuple(named)).packages_for(environment)
        # The tools may have one version, and an application another.
        fitting = [p for p in found if wanted.specifier.contains(p.version, prereleases=True)]
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
    """Read a lock file.

    :raises LockError: if it is no lock of this format
    """
    try:
        content = Pylock.from_dict(_toml(path.read_text(encoding="utf-8")))
        return Lock(path, tuple(map(_locked, content.packages)))
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


def _locked(package: Package) -> Locked:
    sdist = package.sdist
    if package.version is None:
        raise ValueError(f"{package.name} has no version")
    return Locked(
        name=package.name,
        version=str(package.version),
        wheels={each.filename: each.hashes["sha256"] for each in package.wheels or ()},
        sdist=(sdist.filename, sdist.hashes["sha256"]) if sdist else None,
        marker=_marker(str(package.marker)) if package.marker else None,
        used=(package.tool or {}).get("pylonyard", {}),
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
        created_by="pylonyard",
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


def _value(value: str | Mapping[str, Any]) -> str:
    if not isinstance(value, str):
        return f"{{{', '.join(f'{key} = {_value(held)}' for key, held in value.items())}}}"
    # A JSON string is a basic string of TOML too, but for DEL, which no name has.
    return json.dumps(value, ensure_ascii=False)
