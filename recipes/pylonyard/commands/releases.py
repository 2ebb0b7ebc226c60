"""Run ``bin/pylonyard releases``: list the releases, with the changes of each."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pylonyard.activation.activate import Activation
from pylonyard.releases import diff
from pylonyard.system.errors import ActivationError

FORMAT = 1
"""The version of the JSON object."""


@dataclass(frozen=True)
class ListedRelease:
    """A release in the list; ``environments`` by site, if its manifest has them."""

    number: int
    made: str
    configuration: str
    environments: Mapping[str, str]
    is_current: bool
    is_active: bool
    changes: diff.Changes | None
    """Changes since the previous release; None for the first, or if a manifest is damaged."""

    def __str__(self) -> str:
        states = (("current", self.is_current), ("active", self.is_active))
        state = ", ".join(name for name, holds in states if holds)
        names = ", ".join(sorted(set(self.environments.values())))
        mark, made = "*" if self.is_current else " ", self.made or "manifest damaged"
        changed = str(self.changes) if self.changes else ""
        return f"{mark} {self.number:>4}  {made:<20}  {names:<11}  {state:<15}  {changed}".rstrip()

    def to_json(self) -> dict[str, Any]:
        changed = self.changes
        return {
            "release": self.number,
            "made": self.made or None,
            "configuration": self.configuration or None,
            "environments": dict(self.environments),
            "current": self.is_current,
            "active": self.is_active,
            "changes": None
            if changed is None
            else {key: list(paths) for key, paths in vars(changed).items()},
        }


def list_releases(activation: Activation, *, as_json: bool = False) -> None:
    """Print each release: its time, environments, state and changes."""
    active, note = _active_release(activation)
    listed = list(_listed_releases(activation, active))
    if as_json:
        values = {
            "version": FORMAT,
            "releases": [each.to_json() for each in listed],
            "active": active,
            "note": note,
        }
        print(json.dumps(values, indent=1))
        return
    for each in listed:
        print(each)
    if not listed:
        print("there is no release yet; bin/pylonyard doctor says why")
    if note:
        print(note)


def _listed_releases(activation: Activation, active: int | None) -> Iterator[ListedRelease]:
    releases = activation.releases
    current = releases.current_number()
    earlier = None
    for number in releases.numbers():
        manifest = releases.manifest(number)
        environments = manifest.get("environments")
        yield ListedRelease(
            number=number,
            made=str(manifest.get("made", "")),
            configuration=str(manifest.get("configuration", "")),
            environments=environments if isinstance(environments, dict) else {},
            is_current=number == current,
            is_active=number == active,
            changes=diff.changes(earlier, manifest) if earlier else None,
        )
        earlier = manifest or earlier


def _active_release(activation: Activation) -> tuple[int | None, str]:
    """Return the active release, and a note if it is not known or was removed."""
    try:
        number = activation.recorded()
    except PermissionError:
        return None, "active: not known without root"
    except (ActivationError, OSError) as error:
        return None, f"active: not known: {error}"
    is_gone = number is not None and not activation.releases.path(number).is_dir()
    return number, f"release {number} is active, but its folder was removed" if is_gone else ""
