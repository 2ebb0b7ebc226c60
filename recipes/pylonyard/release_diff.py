"""What differs between two releases, told without any secret."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylonyard.releases import Releases

_SECRET_KEY = re.compile(r"secret|passw|pwd|token|key|auth|credential|salt|uuid", re.IGNORECASE)
_SETTING = re.compile(r"(?P<key>\s*[^\s=:#;\[][^=:]*?)(?P<equals>\s*[=:]\s*)(?P<value>\S.*?)\s*")
_URL = re.compile(r"(?<=://)(?P<user>[^/\s:@]*):(?P<password>[^/\s@]+)@")
SHORTEST = 6
"""A secret of fewer characters is not looked for within other words."""


@dataclass(frozen=True)
class Changes:
    """Paths that one release has and another has not, or has otherwise."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __str__(self) -> str:
        """Return all of them as a line, long lists cut."""
        parts = (("changed", self.changed), ("new", self.added), ("gone", self.removed))
        return "; ".join(f"{what}: {_some(paths)}" for what, paths in parts if paths)


def _some(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(paths[:3]) + more


def changes(older: Mapping[str, Any], newer: Mapping[str, Any]) -> Changes:
    """Return what changed from one manifest to another."""
    before, after = _held(older), _held(newer)
    return Changes(
        tuple(sorted(set(after) - set(before))),
        tuple(sorted(set(before) - set(after))),
        tuple(sorted(p for p in set(before) & set(after) if before[p] != after[p])),
    )


def _held(manifest: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    files = manifest.get("files")
    return {
        path: tuple(str(said.get(name)) for name in ("sha256", "link", "mode"))
        for path, said in (files.items() if isinstance(files, dict) else ())
        if isinstance(said, dict)
    }


@dataclass
class Mask:
    """Hides secrets: equal ones get equal numbers, and nothing else is told of them."""

    known: frozenset[str]
    """Secrets, wherever they stand."""
    numbers: dict[str, int] = field(default_factory=dict)

    def hide(self, secret: str) -> str:
        return f"<masked {self.numbers.setdefault(secret, len(self.numbers) + 1)}>"

    def line(self, text: str, secret_keys: frozenset[str] = frozenset()) -> str:
        """Return a line of a configuration file without what it must not tell."""
        setting = _SETTING.fullmatch(text)
        if setting:
            key = setting["key"].strip()
            if key in secret_keys or (_SECRET_KEY.search(key) and "://" not in setting["value"]):
                return setting["key"] + setting["equals"] + self.hide(setting["value"])
        text = _URL.sub(lambda url: f"{url['user']}:{self.hide(url['password'])}@", text)
        for secret in sorted(self.known, key=len, reverse=True):
            text = text.replace(secret, self.hide(secret)) if secret in text else text
        return text

    def keys(self, lines: list[str]) -> frozenset[str]:
        """Return the keys whose value is a known secret."""
        found = filter(None, map(_SETTING.fullmatch, lines))
        return frozenset(s["key"].strip() for s in found if s["value"] in self.known)


def known_secrets(folder: Path) -> frozenset[str]:
    """Return the secrets of all sites that we may read, and that are long enough."""
    found = set()
    for path in folder.glob("*/*"):
        try:
            found.add(path.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError):
            continue
    return frozenset(secret for secret in found if len(secret) >= SHORTEST)


def told(releases: Releases, older: int, newer: int, secrets: Path) -> Iterator[str]:
    """Yield a unified diff of two releases.

    :param secrets: ``var/secrets``
    """
    found = changes(releases.manifest(older), releases.manifest(newer))
    mask = Mask(known_secrets(secrets))
    for path in sorted([*found.added, *found.removed, *found.changed]):
        before, after = (_lines(releases.path(number) / path) for number in (older, newer))
        keys = mask.keys(before) | mask.keys(after)
        one, other = ([mask.line(line, keys) for line in lines] for lines in (before, after))
        names = [f"{number}/{path}" for number in (older, newer)]
        lines = list(difflib.unified_diff(one, other, names[0], names[1], lineterm=""))
        yield from lines or [f"{names[0]} and {names[1]} differ in mode alone"]


def _lines(path: Path) -> list[str]:
    try:
        if path.is_symlink():
            return [f"link to {os.readlink(path)}"]
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except UnicodeDecodeError:
        return ["(not a text)"]
    except OSError as error:
        return [f"(cannot be read: {error.strerror})"]
