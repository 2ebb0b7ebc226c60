"""Resolve requirements with resolvelib, in the order in which pip does, to the same versions."""

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible, Resolver
from resolvelib.resolvers import RequirementInformation, ResolutionTooDeep

from pylonyard.packages.metadata import Found, Metadata
from pylonyard.packages.resolver.pins import Limits, is_exact
from pylonyard.system.errors import PylonyardError

if TYPE_CHECKING:
    from pylonyard.packages.resolver.finder import Finder

PYTHON = "<Python>"
"""The interpreter, as what a Requires-Python asks for."""

PROMOTED = 5
"""How often a name may be left in a conflict until it is decided first, as in pip."""

ROUNDS = 200_000


@dataclass(frozen=True)
class Candidate:
    """One version of a distribution, with the extras that are wanted of it."""

    found: Found
    extras: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return _name(self.found.project, self.extras)

    def __str__(self) -> str:
        return f"{self.name} {self.found.version}"


@dataclass(frozen=True)
class Wanted:
    """A requirement of one distribution."""

    project: str
    extras: frozenset[str] = frozenset()
    specifier: SpecifierSet = SpecifierSet()
    exactly: Found | None = None
    """The version without extras, for one with them."""
    spelled: str = field(default="", compare=False)
    """The name as the requirement has it."""

    @property
    def name(self) -> str:
        return _name(self.project, self.extras)

    def accepts(self, found: Found) -> bool:
        if self.exactly:
            return found == self.exactly
        return self.specifier.contains(found.version, prereleases=True)

    def __str__(self) -> str:
        if self.project == PYTHON:
            return f"Python {self.specifier}"
        return f"{_name(self.spelled or self.project, self.extras)}{self.specifier}"


def _name(project: str, extras: frozenset[str]) -> str:
    return f"{project}[{','.join(sorted(extras))}]" if extras else project


Cause = RequirementInformation[Wanted, Candidate]


class Conflict(PylonyardError):
    """No versions meet all requirements."""

    def __init__(self, causes: Sequence[tuple[Wanted, tuple[str, ...]]]) -> None:
        """:param causes: requirements, each with the distributions that lead to it"""
        told = [f"{' -> '.join(chain) or 'eggs'} needs {wanted}" for wanted, chain in causes]
        super().__init__("no versions fit together: " + ", but ".join(told))
        self.causes = list(causes)
        self.projects = sorted({wanted.project for wanted, _ in causes})


class Provider(AbstractProvider[Wanted, Candidate, str]):
    """What resolvelib asks: which candidates there are, and which name is decided next."""

    def __init__(self, finder: "Finder", limits: Limits, *, prefer_final: bool = True) -> None:
        self.finder = finder
        self.limits = limits
        self.prefer_final = prefer_final
        self.order: dict[str, int] = {}
        """The position of each name that the user gave."""
        self.led: dict[str, Candidate] = {}
        """The first candidate that asked for each name."""
        self._left: Counter[str] = Counter()
        version = Version(finder.environment["python_full_version"])
        self.python = Candidate(
            Found(PYTHON, version, given=Metadata(PYTHON, str(version), (), "", frozenset()))
        )

    def wanted(self, requirement: Requirement) -> Iterator[Wanted]:
        """Yield a requirement as resolvelib sees it: the version apart from the extras."""
        project = canonicalize_name(requirement.name)
        if requirement.url and project not in self.finder.named:
            raise PylonyardError(
                f"{requirement}: only a requirement in eggs may have a URL; write it there as well"
            )
        extras = frozenset(canonicalize_name(extra) for extra in requirement.extras)
        if extras and requirement.specifier:
            yield Wanted(project, specifier=requirement.specifier, spelled=requirement.name)
        yield Wanted(project, extras, requirement.specifier, spelled=requirement.name)

    def roots(self, requirements: Iterable[Requirement]) -> list[Wanted]:
        """Return what the user asks for, extras last."""
        found: list[Wanted] = []
        for number, requirement in enumerate(requirements):
            marker = requirement.marker
            if marker is None or marker.evaluate({**self.finder.environment, "extra": ""}):
                several = list(self.wanted(requirement))
                self.order.setdefault(several[0].name, number)
                found += several
        return sorted(found, key=lambda each: bool(each.extras))

    def identify(self, requirement_or_candidate: Wanted | Candidate) -> str:
        return requirement_or_candidate.name

    def narrow_requirement_selection(
        self,
        identifiers: Iterable[str],
        resolutions: Mapping[str, Candidate],
        candidates: Mapping[str, Iterator[Candidate]],
        information: Mapping[str, Iterator[Cause]],
        backtrack_causes: Sequence[Cause],
    ) -> Iterable[str]:
        """Return what is decided first: Python, what conflicts, what conflicts often."""
        conflicting = set()
        for cause in backtrack_causes:
            names = [cause.requirement.name, *([cause.parent.name] if cause.parent else [])]
            conflicting.update(names)
            self._left.update(name for name in names if name not in resolutions)
        names = list(identifiers)
        if PYTHON in names:
            return [PYTHON]
        now = [name for name in names if name in conflicting]
        return now or [name for name in names if self._is_promoted(name)] or names

    def _is_promoted(self, name: str) -> bool:
        return self._left[name] >= PROMOTED

    def get_preference(
        self,
        identifier: str,
        resolutions: Mapping[str, Candidate],
        candidates: Mapping[str, Iterator[Candidate]],
        information: Mapping[str, Iterator[Cause]],
        backtrack_causes: Sequence[Cause],
    ) -> tuple[object, ...]:
        """Return a key: what is given or pinned comes first, as in pip."""
        wanted = [cause.requirement for cause in information[identifier]]
        limits = [limit for each in wanted for limit in each.specifier]
        is_bounded = any(
            each.operator in ("<", "<=", "~=") or (each.operator == "==" and "*" in each.version)
            for each in limits
        )
        return (
            not self._is_promoted(identifier),
            not any(each.exactly or each.project in self.finder.given for each in wanted),
            not any(each.operator[:2] == "==" and "*" not in each.version for each in limits),
            not is_bounded,
            self.order.get(identifier, math.inf),
            not limits,
            identifier,
        )

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Wanted]],
        incompatibilities: Mapping[str, Iterator[Candidate]],
    ) -> Sequence[Candidate]:
        """Return what meets all requirements: what is preferred, then the newest first."""
        project, _, extras = identifier.partition("[")
        wanted = list(requirements.get(identifier, ()))
        if extras:
            wanted += requirements.get(project, ())
        refused = {each.found for each in incompatibilities.get(identifier, ())}
        exact = wanted[0].extras if extras else frozenset()
        return [
            Candidate(found, exact)
            for found in self._matching(project, wanted)
            if found not in refused
        ]

    def _matching(self, project: str, wanted: Sequence[Wanted]) -> list[Found]:
        if project == PYTHON:
            return [self.python.found] if self._accept(wanted, self.python.found) else []
        if project in self.finder.given:
            # A tree of one's own is what it is: a pin says which release an index shall give.
            found = self.finder.given[project]
            return [found] if self._accept(wanted, found) else []
        allowed = self.limits.specifier(project)
        for each in wanted:
            allowed &= each.specifier
        best = self.best(self.allowed(project), allowed)
        chosen = [found for found in best if self._accept(wanted, found)]
        preferred = self.limits.preferred.get(project)
        return sorted(chosen, key=lambda found: str(found.version) != preferred)

    def allowed(self, project: str) -> list[Found]:
        """Return the files whose digest is allowed."""
        digests, files = self.limits.digests(project), self.finder.files(project)
        if not digests:
            return files
        return [each for each in files if each.offer and each.offer.sha256 in digests]

    def best(self, files: Sequence[Found], allowed: SpecifierSet) -> list[Found]:
        """Return one file of each allowed version, without those that were yanked.

        They count only if a version is pinned that has no other, as in pip.
        """
        final = None if self.prefer_final else True
        versions = set(allowed.filter({each.version for each in files}, prereleases=final))
        fitting = [each for each in files if each.version in versions]
        kept = [each for each in fitting if not (each.offer and each.offer.withdrawn is not None)]
        if not kept and is_exact(allowed):
            kept = fitting
        best: dict[Version, Found] = {}
        for each in kept:
            best.setdefault(each.version, each)
        return list(best.values())

    @staticmethod
    def _accept(wanted: Iterable[Wanted], found: Found) -> bool:
        return all(each.accepts(found) for each in wanted)

    def is_satisfied_by(self, requirement: Wanted, candidate: Candidate) -> bool:
        return requirement.accepts(candidate.found)

    def get_dependencies(self, candidate: Candidate) -> list[Wanted]:
        """Return what a candidate needs."""
        if candidate.found.project == PYTHON:
            return []
        needed = list(self._needed(candidate))
        for each in needed:
            if each.name != candidate.found.project:
                self.led.setdefault(each.name, candidate)
        return needed

    def _needed(self, candidate: Candidate) -> Iterator[Wanted]:
        found = candidate.found
        stated = self.finder.metadata(found)
        if stated.name and not is_of(stated, found):
            # As in pip, a file that is another than its name says is passed over.
            yield Wanted(found.project, specifier=SpecifierSet(f"!={found.version}"))
            return
        if candidate.extras:
            yield Wanted(found.project, exactly=found)
        if stated.requires_python:
            with contextlib.suppress(InvalidSpecifier):
                yield Wanted(PYTHON, specifier=SpecifierSet(stated.requires_python))
        for requirement in self.finder.required(found, candidate.extras & stated.extras):
            yield from self.wanted(requirement)

    def chain(self, candidate: Candidate | None) -> tuple[str, ...]:
        """Return the distributions that lead to a candidate, and it, the first one first."""
        found: list[Candidate] = []
        while candidate and candidate not in found:
            found.insert(0, candidate)
            above = self.led.get(candidate.name)
            if candidate.name in self.order:
                break
            candidate = above
        return tuple(str(each) for each in found)


def is_of(stated: Metadata, found: Found) -> bool:
    """Return whether metadata has the name and the version of its file."""
    try:
        return stated.name == found.project and Version(stated.version) == found.version
    except InvalidVersion:
        return False


def resolve(
    provider: Provider, requirements: Iterable[Requirement]
) -> tuple[dict[str, Found], set[str]]:
    """Return the chosen file of each distribution, and whose version a requirement names.

    :raises Conflict: if no versions meet all requirements
    :raises CommandError: if a file cannot be had, or an index does not answer
    """
    resolver: Resolver[Wanted, Candidate, str] = Resolver(provider, _Quiet())
    try:
        result: Any = resolver.resolve(provider.roots(requirements), max_rounds=ROUNDS)
    except ResolutionImpossible as error:
        causes = {(cause.requirement, provider.chain(cause.parent)): None for cause in error.causes}
        raise Conflict(list(causes)) from error
    except ResolutionTooDeep as error:
        raise PylonyardError(
            f"no versions that fit together were found in {ROUNDS} steps"
        ) from error
    found = {each.found.project: each.found for each in result.mapping.values()}
    exact = {
        cause.requirement.project
        for criterion in result.criteria.values()
        for cause in criterion.information
        if is_exact(cause.requirement.specifier)
    }
    return {name: found[name] for name in sorted(found) if name != PYTHON}, exact


class _Quiet(BaseReporter[Wanted, Candidate, str]):
    pass
