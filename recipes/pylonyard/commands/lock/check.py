"""Run ``bin/pylonyard lock --check``: check whether the lock fits the configuration.

Nothing is installed, and no network is used. Requirements are followed as far as the download
cache has locked files, which contain metadata.
"""

from importlib.metadata import Distribution
from pathlib import Path
from zipfile import BadZipFile

from packaging.utils import canonicalize_name

from pylonyard.commands import config
from pylonyard.environments import cache_usage
from pylonyard.packages import interpreters, metadata
from pylonyard.packages.interpreters import describe, find
from pylonyard.packages.lock import pylock
from pylonyard.packages.lock.fit import RECIPES, Fit, requested
from pylonyard.packages.missing import Unknown
from pylonyard.system.errors import UserError

DEFAULT = "profiles/pylock.toml"


def command(directory: Path, file: Path | None) -> str:
    """Return the line that the lock fits.

    :param file: the lock; default: the one that each section names
    :raises UserError: if it does not, or the configuration cannot be read
    """
    named = config.of_last_run(directory)
    sections = config.Sections.of(directory)
    found = {
        section: _lock(directory, sections, section, file) for section in sections.applications()
    }
    for section, path in found.items():
        problems = _problems(directory, sections, section, path)
        if problems:
            raise UserError(
                f"[{section}] {path} does not fit {named}: {'; '.join(problems)}; make a new one: "
                f"bin/buildout {section}:lock= and then bin/pylonyard lock"
            )
    if not found:
        raise UserError(f"{named}: expected a section with {RECIPES[1]}, got none")
    return f"{', '.join(sorted({str(path) for path in found.values()}))} fits {named}."


def _lock(directory: Path, sections: config.Sections, section: str, file: Path | None) -> Path:
    return directory / (file or sections.value(section, "lock") or DEFAULT)


def _problems(directory: Path, sections: config.Sections, section: str, path: Path) -> list[str]:
    """Return what a lock lacks of what a section asks for."""
    python = sections.value(section, "python")
    try:
        lock = pylock.read(path)
        interpreter = find(python) if python else describe(interpreters.interpreter())
        lock.expect_for(metadata.environment(interpreter))
    except (pylock.LockError, ValueError) as error:
        return [str(error)]
    dist = cache_usage.stores_of(directory).cache / "dist"
    versions = sections.value(section, "versions") or sections.value("buildout", "versions")
    pins = {
        canonicalize_name(n): pin for n, pin in sections.options(versions or "versions").items()
    }
    options = {n: sections.value(section, n) for n in ("develop", "sources", "provided")}
    own = {"develop": sections.value("buildout", "develop")}
    # Those that mr.developer has are named nowhere else.
    there = metadata.distributions([str(directory / "develop-eggs")])
    local = [*requested(directory, options), *requested(directory, own), *there]
    fit = Fit(
        lock,
        metadata.environment(interpreter),
        metadata.supported(interpreter),
        {str(name): pin for name, pin in pins.items()},
        dict.fromkeys(local, Unknown()),
        lambda package, name: _described(dist / name),
    )
    fit.check(sections.lines(section, "eggs") or [section])
    return list(fit.problems)


def _described(place: Path) -> Distribution | None:
    try:
        return metadata.described(place) if place.suffix == ".whl" and place.is_file() else None
    except (OSError, ValueError, BadZipFile):
        return None
