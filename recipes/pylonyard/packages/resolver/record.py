"""Keep in the checkout what was chosen, until something else decides, or somebody asks anew.

Each run reads it, and one that chooses writes it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pylonyard.system.atomic import write
from pylonyard.system.safe_files import DamagedError, json_object

RECORD = Path(".pylonyard", "resolved.json")
VERSION = 1
"""The newest version of the record that we read."""


@dataclass(frozen=True)
class Chosen:
    """One distribution of a resolution."""

    name: str
    version: str
    url: str
    """The address or the path of its file, without a password."""
    sha256: str = ""
    is_exact: bool = False
    """Whether some requirement names the version."""


def chosen(directory: Path, section: str, digest: str) -> list[Chosen] | None:
    """Return what was chosen for a section; None if something else decides now."""
    kept = _read(directory).get(section, {})
    if kept.get("digest") != digest:
        return None
    try:
        return [Chosen(**each) for each in kept["distributions"]]
    except (KeyError, TypeError):
        return None


def _read(directory: Path) -> dict[str, Any]:
    try:
        held = json_object((directory / RECORD).read_bytes(), VERSION)
        sections = held.get("sections", {})
    except (OSError, DamagedError):
        return {}
    return sections if isinstance(sections, dict) else {}


def trees(directory: Path, section: str) -> dict[str, str]:
    """Return the metadata of source trees that is kept for a section, by their digests."""
    found = _read(directory).get(section, {}).get("trees", {})
    return found if isinstance(found, dict) else {}


def keep(
    directory: Path, section: str, digest: str, found: Iterable[Chosen], trees: Mapping[str, str]
) -> None:
    """Record what was chosen for a section.

    :param digest: of what has decided
    :param trees: the metadata of its source trees, by their digests
    """
    held = {"digest": digest, "distributions": list(map(asdict, found)), "trees": dict(trees)}
    _write(directory, {**_read(directory), section: held})


def _write(directory: Path, sections: Mapping[str, Any]) -> None:
    held = {"version": VERSION, "sections": sections}
    write(directory / RECORD, (json.dumps(held, indent=1) + "\n").encode())


# Moving some of what was chosen.


def update(
    directory: Path, names: Iterable[str], held: Mapping[str, Mapping[str, str]]
) -> bytes | None:
    """Have the next run choose some distributions anew, and keep the others as far as they fit.

    :param names: their canonical names
    :param held: for each section the versions that it has, by canonical name
    :return: the record as it was, for :func:`restore`
    """
    sections, moving = _read(directory), sorted(names)
    before = (directory / RECORD).read_bytes() if sections else None
    for section, versions in held.items():
        kept = sections.get(section, {})
        old = [asdict(Chosen(name, version, "")) for name, version in versions.items()]
        sections[section] = {**kept, "digest": "", "distributions": old, "update": moving}
    for section in sections.keys() - held.keys():  # what only a build has
        there = {each.get("name") for each in sections[section].get("distributions", ())}
        if not there.isdisjoint(moving):
            del sections[section]
    _write(directory, sections)
    return before


def restore(directory: Path, record: bytes | None) -> None:
    """Put the record back as it was."""
    if record is None:
        (directory / RECORD).unlink(missing_ok=True)
    else:
        write(directory / RECORD, record)


def preferred(directory: Path, section: str) -> tuple[dict[str, str], list[str]]:
    """Return the versions to keep in a section as far as they fit, and the names that move."""
    kept = _read(directory).get(section, {})
    moving = kept.get("update", [])
    held = {each["name"]: each["version"] for each in kept["distributions"]} if moving else {}
    return {name: version for name, version in held.items() if name not in moving}, moving
