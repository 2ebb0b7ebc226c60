"""Run ``python3 bootstrap.py fetch``, or ``bin/pylonyard fetch``: download to the cache.

A file that a lock names, or that the recipes pin, has to have the SHA-256 recorded there.
Any other file has to have the one in the index. No code of a downloaded file is run.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag
from packaging.utils import canonicalize_name
from packaging.version import Version

from pylonyard.packages import downloads, interpreters, metadata, mod_wsgi_sources
from pylonyard.packages.index import Offer, Places
from pylonyard.packages.integrity import RefusedError, check_file
from pylonyard.packages.interpreters import describe, find
from pylonyard.packages.lock import pylock
from pylonyard.packages.metadata import SUFFIXES, identified
from pylonyard.packages.wheels import WheelError
from pylonyard.system import command_line, progress
from pylonyard.system.command_line import Parser
from pylonyard.system.errors import CommandError, UserError, interrupted, raising_interrupts


@dataclass(frozen=True)
class Fetcher:
    """Download files to a cache."""

    cache: Path
    places: Places
    known: Mapping[str, set[str]]
    """For each file name the SHA-256 digests that are allowed."""
    tags: Mapping[Tag, int]
    """The tags of the interpreter that will use the files, with their ranks."""
    python: str = ""
    """The version of that interpreter; empty if it does not matter."""

    def fetch(self, wanted: str) -> Path:
        """Return the cached file named ``wanted``, or one that meets that requirement.

        :raises CommandError: if it cannot be found or downloaded
        :raises WheelError: if its digest is not the recorded one
        """
        offer = self._named(wanted) if wanted.endswith(SUFFIXES) else self._best(wanted)
        digests = self.known.get(offer.name) or ({offer.sha256} if offer.sha256 else set())
        place = self.cache / "dist" / offer.name
        if place.exists():
            try:
                self._check(place, digests)
                return place
            except RefusedError as error:
                say(str(error))
        return self.places.bring(offer, place.parent, lambda file: self._check(file, digests))

    def _check(self, file: Path, digests: set[str]) -> None:
        if digests:
            check_file(file, digests, self.cache)

    def _named(self, name: str) -> Offer:
        found = identified(name)
        for offer in self.places.offers(found.name) if found else ():
            if offer.name == name:
                return offer
        raise _not_found(name)

    def _best(self, text: str) -> Offer:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            raise CommandError(f"cannot get {text!r}", "expected name==version") from None
        ranked = sorted(self._ranked(wanted), key=lambda each: each[0])
        usable = [offer for _, offer in ranked if self._unusable(offer) is None]
        if not ranked:
            raise _not_found(text)
        if not usable:
            newest = ranked[-1][1]
            raise CommandError(f"cannot get {text}", f"{newest.name} {self._unusable(newest)}")
        return usable[-1]

    def _unusable(self, offer: Offer) -> str | None:
        """Return why a file cannot be used; None if it can."""
        if offer.withdrawn is not None:
            return f"was withdrawn (yanked){offer.withdrawn and f': {offer.withdrawn}'}"
        if self.python and not offer.is_for(self.python):
            return f"is for Python {offer.requires_python}, not {self.python}"
        return None

    def _ranked(self, wanted: Requirement) -> Iterator[tuple[tuple[Version, int], Offer]]:
        """Yield the files that meet a requirement, with a rank: by version, then by wheel tag."""
        name = canonicalize_name(wanted.name)
        for offer in self.places.offers(name):
            found = identified(offer.name)
            if not found or found.name != name or not wanted.specifier.contains(found.version):
                continue
            if found.tags is None:
                yield (Version(found.version), -len(self.tags)), offer
            elif fitting := found.tags & self.tags.keys():
                yield (Version(found.version), -min(self.tags[tag] for tag in fitting)), offer


def _not_found(wanted: str) -> CommandError:
    return CommandError(f"cannot get {wanted}", "neither find-links nor the index has it")


def _digests(locks: Sequence[Path]) -> dict[str, set[str]]:
    known = {mod_wsgi_sources.filename(s): {s.sha256} for s in mod_wsgi_sources.SOURCES}
    for path in locks:
        for package in pylock.read(path).packages:
            for name, digest in package.files.items():
                known.setdefault(name, set()).add(digest)
    return known


def say(text: str) -> None:
    print(f"{_program()}: {text}", flush=True)


def _program() -> str:
    name = Path(sys.argv[0]).name
    return name if name == "pylonyard" else "bootstrap"


def main(cache: str, arguments: Sequence[str]) -> int:
    """Fetch what the command line of ``bootstrap.py`` names; return the exit status.

    :param cache: the cache of the checkout
    """
    words = command_line.fetch(Parser(prog="bootstrap.py fetch")).parse_args(arguments)
    return command(cache, words)


def command(cache: str, words: argparse.Namespace) -> int:
    """Fetch what the arguments name, see :func:`command_line.fetch`; return the exit status."""
    problems = []
    downloads.install()
    try:
        python = find(words.python) if words.python else describe(interpreters.interpreter())
        places = Places(tuple(words.find_links), words.index)
        folder = Path(words.cache or cache).absolute()
        known = _digests([Path(name) for name in words.lock])
        version = "{}.{}.{}".format(*python.version)
        fetcher = Fetcher(folder, places, known, metadata.supported(python), version)
    except (UserError, ValueError) as error:
        sys.exit(f"{_program()}: {error}")
    for wanted in words.wanted:
        try:
            what = f"{_program()}: Downloading {wanted}"
            with raising_interrupts(), progress.of(what):
                brought = fetcher.fetch(wanted)
            say(str(brought))
        except KeyboardInterrupt:
            return interrupted(_program())
        except (CommandError, WheelError) as error:
            problems.append(str(error))
    if problems:
        sys.exit(f"{_program()}: {'; '.join(problems)}")
    return 0
