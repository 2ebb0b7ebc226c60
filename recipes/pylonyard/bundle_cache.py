"""Which files of the cache a bundle holds: those that the locks of the last run name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from pylonyard import cache_record, installed, pylock, sandboxes, toolbox
from pylonyard.errors import UserError
from pylonyard.index_pages import Places
from pylonyard.interpreters import Interpreter, describe, find
from pylonyard.layout import Layout
from pylonyard.locked_files import Target
from pylonyard.missing import Missing, Shelf, options
from pylonyard.pylock import Lock

RECIPE = "pylonyard:pylons_app"


@dataclass(frozen=True)
class Application:
    """A section that installs an application, as the last run had it."""

    site: str
    lock: Lock
    target: Target
    places: Places


def applications(directory: Path) -> list[Application]:
    """Return the applications of the last run.

    :raises UserError: if there was none, or one has no lock in the checkout
    """
    try:
        text = (directory / ".installed.cfg").read_text(encoding="utf-8")
        sections = installed.parsed(text)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{directory}: expected a sandbox in which bin/buildout has run, got none: {error}"
        ) from error
    found = [
        _application(directory, name, section)
        for name, section in sections.items()
        if section.get("recipe") == RECIPE
    ]
    if not found:
        raise UserError(f"{directory}: expected a part with {RECIPE}, got none")
    return found


def _application(directory: Path, name: str, section: Mapping[str, str]) -> Application:
    stated = section.get("lock", "")
    path = directory / (stated or "profiles/pylock.toml")
    if not stated or not path.is_file():
        command = "bin/pylonyard lock" + (f" --file {stated}" if stated else "")
        naming = "" if stated else f", name it in [{name}] as lock = profiles/pylock.toml"
        raise UserError(
            f"[{name}] lock: expected a lock, got none; make one: {command}{naming}, and run "
            "bin/buildout again"
        )
    if not path.resolve().is_relative_to(directory.resolve()):
        raise UserError(f"[{name}] lock: expected a file of the checkout, got {stated}")
    try:
        base = find(section["python"]) if section.get("python") else _own()
        lock = pylock.read(path)
    except (ValueError, pylock.LockError) as error:
        raise UserError(f"[{name}] {error}") from error
    target = Target.of(base, section.get("without-setup-requires", "").split())
    places = Places(tuple(section.get("find-links", "").split()), section.get("index") or None)
    return Application(section["name"], lock, target, places)


def _own() -> Interpreter:
    return describe(sandboxes.interpreter())


def files(directory: Path, found: Sequence[Application]) -> dict[Path, set[str]]:
    """Return the files of the cache that a run of ``found`` takes, with their SHA-256 digests.

    :raises UserError: naming all that are missing, and the command that fetches them
    """
    stores = cache_record.stores_of(directory)
    layout = Layout(directory, directory / "parts", directory / "bin", stores.eggs, stores.cache)
    own = Target.of(_own())
    wanted: dict[str, set[str]] = {}
    for application in found:
        for target in (own, application.target):
            for package, name in target.files(application.lock):
                wanted.setdefault(name, set()).add(package.files[name])
    lacking = Missing({n: None for n in sorted(wanted) if not (layout.dist / n).exists()})
    for name, version, digests in toolbox.requirements(directory / "profiles" / "tools.txt"):
        if any(held & digests and file.endswith(".whl") for file, held in wanted.items()):
            continue
        if place := Shelf(layout.dist, own.tags).find(Requirement(name), version):
            wanted[place.name] = digests
        else:
            lacking.surely[f"{name}=={version}"] = None
    if lacking:
        words = [word for each in found for word in options(layout, each.places, each.lock.path)]
        raise UserError(lacking.told(layout, list(dict.fromkeys(words))))
    return {layout.dist / name: digests for name, digests in sorted(wanted.items())}
