"""Read what a user allows of each distribution: pins of buildout, and constraints of pip."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from pylonyard.config.layout import profile
from pylonyard.system.errors import CommandError


@dataclass(frozen=True)
class Limit:
    """What one line allows of a distribution."""

    specifier: SpecifierSet
    told: str
    """The line, and where it stands."""
    digests: frozenset[str] = frozenset()
    """The allowed SHA-256 of its files; any if there are none."""


@dataclass
class Limits:
    """What is allowed, and what is preferred, of each distribution, by canonical name."""

    all: dict[str, list[Limit]] = field(default_factory=dict)
    preferred: dict[str, str] = field(default_factory=dict)
    """The versions that our profiles name: they bind nobody."""

    def add(self, name: str, limit: Limit) -> None:
        self.all.setdefault(str(canonicalize_name(name)), []).append(limit)

    def of(self, name: str) -> list[Limit]:
        return self.all.get(name, [])

    def specifier(self, name: str) -> SpecifierSet:
        found = SpecifierSet()
        for limit in self.of(name):
            found &= limit.specifier
        return found

    def digests(self, name: str) -> frozenset[str]:
        """Return the allowed SHA-256 of the files of a distribution; none means any."""
        found = [limit.digests for limit in self.of(name) if limit.digests]
        return frozenset.intersection(*found) if found else frozenset()

    def is_pinned(self, name: str, version: str) -> bool:
        """Return whether a version was named, by the user or by us; not merely allowed."""
        named = any(is_exact(limit.specifier) for limit in self.of(name))
        return named or self.preferred.get(name) == version

    def held(self) -> list[object]:
        """Return all of it, for a digest."""
        limits = {
            name: sorted((str(each.specifier), sorted(each.digests)) for each in found)
            for name, found in self.all.items()
        }
        return [sorted(limits.items()), sorted(self.preferred.items())]


def is_exact(specifier: SpecifierSet) -> bool:
    """Return whether it names one version."""
    return any(
        each.operator == "===" or (each.operator == "==" and not each.version.endswith(".*"))
        for each in specifier
    )


def is_range(pin: str) -> bool:
    """Return whether a pin of buildout's allows several versions, as zc.buildout's own does."""
    return pin[:1] in ("<", ">", "=", "!", "~")


def specifier(pin: str) -> SpecifierSet:
    """Return what a pin of buildout's, ``1.0`` or ``>=1.0``, allows.

    :raises InvalidSpecifier: if it is none
    """
    if not pin or is_range(pin):
        return SpecifierSet(pin)
    try:
        return SpecifierSet(f"=={pin}")
    except InvalidSpecifier:
        return SpecifierSet(f"==={pin}")


def of_section(
    buildout: Any, versions: Mapping[str, str] | None = None, named: str | None = None
) -> Limits:
    """Return what pins say: those that are given, or else those of the buildout.

    :param named: the section of those that are given
    """
    section = buildout["buildout"]["versions"]
    if versions is None:
        return of_buildout(buildout, section, buildout.get(section) or {})
    return of_buildout(None, named or section, versions)


def of_buildout(buildout: Any, section: str, versions: Mapping[str, str]) -> Limits:
    """Return what a section of pins says; those of our profiles are preferred versions.

    :param section: where they stand
    :raises CommandError: naming a pin that is none
    """
    found = Limits()
    for name, pin in versions.items():
        try:
            allowed = specifier(pin)
        except InvalidSpecifier:
            raise CommandError(f"[{section}] {name}", f"expected a version, got {pin!r}") from None
        if is_exact(allowed) and _is_ours(buildout, section, name):
            found.preferred[str(canonicalize_name(name))] = normal(pin)
        else:
            found.add(name, Limit(allowed, f"[{section}] {name} = {pin}"))
    return found


def _is_ours(buildout: Any, section: str, name: str) -> bool:
    """Return whether a pin comes from a file of ours that nobody has to name."""
    annotated = getattr(buildout, "_annotated", {}).get(section, {})
    if name not in annotated:
        return False
    path = Path(annotated[name].source)
    return path.parent == profile().parent and path.name.startswith("versions")


def normal(version: str) -> str:
    try:
        return str(Version(version))
    except InvalidVersion:
        return version


# Files as pip has them: ``constraints.txt``, and ``requirements.txt`` too.


def constraints(path: Path, environment: Mapping[str, str], limits: Limits) -> None:
    """Add what a file allows to ``limits``.

    :param environment: the variables of markers, such as ``python_version``
    :raises CommandError: naming a line that is no constraint
    """
    for number, words in _lines(path):
        where = f"{path}, line {number}"
        try:
            if words[0] in ("-c", "-r", "--constraint", "--requirement") and len(words) == 2:
                constraints(path.parent / words[1], environment, limits)
            else:
                _add(words, where, environment, limits)
        except InvalidRequirement as error:
            expected = "expected a constraint such as Paste==3.10.1"
            raise CommandError(where, f"{expected}, got {' '.join(words)!r}") from error


def _add(words: list[str], where: str, environment: Mapping[str, str], limits: Limits) -> None:
    hashes = [word.partition("=")[2] for word in words if word.startswith("--hash=")]
    text = " ".join(word for word in words if not word.startswith("--hash="))
    wanted = Requirement(text)
    if wanted.url or wanted.extras:
        raise InvalidRequirement(text)
    if wanted.marker is None or wanted.marker.evaluate({**environment, "extra": ""}):
        digests = frozenset(h.partition(":")[2] for h in hashes if h.startswith("sha256:"))
        limits.add(wanted.name, Limit(wanted.specifier, f"{text} in {where}", digests))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the words of each line; one that goes on is one line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}", " ".join(str(error).split())) from error
    begun, text = 0, ""
    for number, line in enumerate(lines, 1):
        begun = begun if text else number
        text += re.sub(r"(^|\s)#.*", "", line)
        if text.endswith("\\") and number < len(lines):
            text = text[:-1] + " "
            continue
        # A marker has quotes of its own, which are part of it.
        words = [word for word in text.split() if word]
        if words:
            yield begun, words
        text = ""
