"""Lock files as of PEP 751: which files a distribution may be installed from.

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
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.markers import Marker
from packaging.pylock import Pylock, PylockValidationError
from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, NormalizedName, parse_wheel_filename

from pylonyard.system.errors import PylonyardError


class LockError(PylonyardError, ValueError):
    """A lock file cannot be read, or does not say what is needed of it."""


@dataclass(frozen=True, kw_only=True)
class Locked:
    """A distribution that a lock names."""

    name: NormalizedName
    version: str
    wheels: Mapping[str, str]
    """File name -> SHA-256."""
    sdist: tuple[str, str] | None = None
    """File name, SHA-256."""
    marker: str | None = None
    used: Mapping[str, str] = field(default_factory=dict)
    """What the locked sandbox has: ``file``, ``interpreter``, ``platform``."""

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
    """A lock file and what it says."""

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
        """Return a digest of all that is locked for an interpreter."""
        packages = self.packages_for(environment)
        held = [[each.name, each.version, sorted(each.files.items())] for each in packages]
        return hashlib.sha256(json.dumps(held).encode()).hexdigest()

    def digests(self, filename: str) -> set[str] | None:
        """Return what a file may be; None if no distribution of the lock has its name.

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
        content = _toml(path.read_text(encoding="utf-8"))
        Pylock.from_dict(content)
        return Lock(path, tuple(_package(entry) for entry in content["packages"]))
    except OSError as error:
        raise LockError(f"expected a lock, got {error.strerror}: {path}") from error
    except (ValueError, KeyError, PylockValidationError) as error:
        raise LockError(f"expected a lock as of PEP 751, got {path}: {error}") from error


def _toml(text: str) -> dict[str, Any]:
    # Python 3.10 has none of its own.
    name = "tomllib" if sys.version_info >= (3, 11) else "pip._vendor.tomli"
    content: dict[str, Any] = importlib.import_module(name).loads(text)
    return content


def _package(entry: Mapping[str, Any]) -> Locked:
    sdist = entry.get("sdist")
    return Locked(
        name=entry["name"],
        version=entry["version"],
        wheels=dict(_file(wheel) for wheel in entry.get("wheels", ())),
        sdist=_file(sdist) if sdist else None,
        marker=entry.get("marker"),
        used=entry.get("tool", {}).get("pylonyard", {}),
    )


def _file(entry: Mapping[str, Any]) -> tuple[str, str]:
    name = entry.get("name") or PurePosixPath(entry["path"]).name
    return name, entry["hashes"]["sha256"]


def text(packages: Iterable[Locked], folder: str) -> str:
    """Return a lock file.

    :param folder: where the files are, relative to that of the lock
    """
    lines = ['lock-version = "1.0"', 'created-by = "pylonyard"']
    for package in sorted(packages, key=lambda each: (each.name, each.version)):
        lines += ["", *_lines(package, folder)]
    return "\n".join([*lines, ""])


def _lines(package: Locked, folder: str) -> Iterator[str]:
    yield "[[packages]]"
    yield f"name = {_string(package.name)}"
    yield f"version = {_string(package.version)}"
    if package.marker:
        yield f"marker = {_string(package.marker)}"
    if package.sdist:
        yield f"sdist = {_entry(*package.sdist, folder)}"
    if package.wheels:
        yield "wheels = ["
        for name, digest in sorted(package.wheels.items()):
            yield f"    {_entry(name, digest, folder)},"
        yield "]"
    if package.used:
        yield "[packages.tool.pylonyard]"
        yield from (f"{key} = {_string(value)}" for key, value in package.used.items())


def _entry(name: str, digest: str, folder: str) -> str:
    path = os.path.join(folder, name)
    return f"{{path = {_string(path)}, hashes = {{sha256 = {_string(digest)}}}}}"


def _string(value: str) -> str:
    # A JSON string is a basic string of TOML too, but for DEL, which no name has.
    return json.dumps(value, ensure_ascii=False)
