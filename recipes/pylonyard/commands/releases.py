"""Run ``bin/pylonyard releases``: list the releases, or show what differs between two of them.

``Mask`` hides the secrets in the output, also that of other commands.
"""

import difflib
import itertools
import json
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylonyard.config.secret_names import is_secret
from pylonyard.releases.store import Releases
from pylonyard.system.errors import ActivationError, ServerError
from pylonyard.system.safe_files import read_plainly

if TYPE_CHECKING:
    from pylonyard.activation.activate import Activation


@dataclass(frozen=True)
class Changes:
    """Paths that were added, removed or changed between two releases."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __str__(self) -> str:
        """Return the number of changes as a short line, with a few names."""
        parts = (("changed", self.changed), ("new", self.added), ("gone", self.removed))
        return "; ".join(
            f"{len(paths)} {what}: {_first_names(paths)}" for what, paths in parts if paths
        )


def _first_names(paths: tuple[str, ...]) -> str:
    """Return at most two names; those of commands come last."""
    names = [path.rpartition("/")[2] for path in sorted(paths, key=lambda path: "bin/" in path)]
    return ", ".join([*names[:2], *(["..."] if len(names) > 2 else [])])


def changes(older: Mapping[str, Any], newer: Mapping[str, Any]) -> Changes:
    """Return the changes from one manifest to another."""
    before, after = _files(older), _files(newer)
    return Changes(
        tuple(sorted(set(after) - set(before))),
        tuple(sorted(set(before) - set(after))),
        tuple(sorted(p for p in set(before) & set(after) if before[p] != after[p])),
    )


def _files(manifest: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return for each file its digest or target, and its mode."""
    files = manifest.get("files")
    return {
        path: tuple(str(said.get(name)) for name in ("sha256", "link", "mode"))
        for path, said in (files.items() if isinstance(files, dict) else ())
        if isinstance(said, dict)
    }


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
    changes: Changes | None
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


def list_releases(activation: "Activation", *, as_json: bool = False) -> None:
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


def _listed_releases(activation: "Activation", active: int | None) -> Iterator[ListedRelease]:
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
            changes=changes(earlier, manifest) if earlier else None,
        )
        earlier = manifest or earlier


def _active_release(activation: "Activation") -> tuple[int | None, str]:
    """Return the active release, and a note if it is not known or was removed."""
    try:
        number = activation.active_number()
    except PermissionError:
        return None, "active: not known without root"
    except (ActivationError, OSError) as error:
        return None, f"active: not known: {error}"
    is_gone = number is not None and not activation.releases.path(number).is_dir()
    return number, f"release {number} is active, but its folder was removed" if is_gone else ""


# Secrets, masked.


# No pattern takes longer than in proportion to the line.
_SETTING = re.compile(r"[\s#;]*(?P<key>[^\s#;=:\[<][^=:]*)(?:=|:(?!//))\s*(?P<value>.*)")
_DIRECTIVE = re.compile(
    r"[\s#;]*(?P<key>"
    r"(?:SetEnv|Define|(?:Request)?Header(?:\s+always|\s+onsuccess)?\s+[a-z]+)\s+\S+"
    r"|[a-z]*(?:password|passphrase|secret|token|credentials?)"
    r")\s+(?P<value>[^\s=:].*)",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![\w.-])(?P<key>[\w.-]+)(?:[\"']?\s*=\s*|[\"']\s*:\s*)")
_VALUE = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\\.|<masked \d+>|[^\s&])+""")
# Before the "@" of a URL: everything up to its secret.
_ACCOUNT = re.compile(r"://[^/:]*:(?=.)|(?:(?<=http)|(?<=https))://(?=[^/:]+$)")
NOT_TEXT = "(not a text)"
UNREAD = "(cannot be read: "
SHORTEST = 6
"""Secrets with fewer characters are not searched for inside other words."""


@dataclass
class Mask:
    """Mask secrets: equal ones get equal numbers, and nothing else is shown of them."""

    known: frozenset[str]
    """Known secrets, which are masked everywhere."""
    numbers: dict[str, int] = field(default_factory=dict)

    def hide(self, secret: str) -> str:
        return f"<masked {self.numbers.setdefault(secret, len(self.numbers) + 1)}>"

    def lines(self, lines: list[str], secret_keys: frozenset[str]) -> Iterator[str]:
        """Yield the lines of a configuration file with secrets masked."""
        above = ""
        for before, line in itertools.pairwise(["", *lines]):
            if above and (before.endswith("\\") or _continues(above, line)):
                yield self._from(line, len(line) - len(line.lstrip()))
                continue
            yield self.line(line, secret_keys)
            # A value may go on below a comment, or an empty line.
            if line.strip() and not (above and _only_here_a_comment(above, line)):
                above = line if _secret_setting(line, secret_keys) else ""

    def line(self, text: str, secret_keys: frozenset[str] = frozenset()) -> str:
        """Return a line, which continues no other, with secrets masked."""
        setting = _secret_setting(text, secret_keys)
        if setting:
            return self._from(text, setting.start("value"))
        text = self._assigned(re.sub(r"\S+", self._address, text))
        for secret in sorted(self.known, key=len, reverse=True):
            text = text.replace(secret, self.hide(secret)) if secret in text else text
        return text

    def addresses(self, text: str) -> str:
        """Return a text with the passwords and tokens of the URLs in it masked."""

        def masked(word: re.Match[str]) -> str:
            return self._assigned(self._address(word)) if "://" in word[0] else word[0]

        return re.sub(r"\S+", masked, text)

    def _from(self, text: str, start: int) -> str:
        secret = text[start:].rstrip()
        if not secret:
            return text
        return text[:start] + self.hide(secret) + text[start + len(secret) :]

    def _address(self, word: re.Match[str]) -> str:
        # The last "@": a password may have one, a host has none.
        before, at, host = word[0].rpartition("@")
        account = _ACCOUNT.search(before)
        return self._from(before, account.end()) + at + host if account else word[0]

    def _assigned(self, text: str) -> str:
        """Mask the values of secret names within a line, as in the query of a URL."""
        shown, end = "", 0
        for name in _NAME.finditer(text):
            start = name.end()
            if name.start() < end or not is_secret(name["key"], text[start : start + 50]):
                continue
            value = _VALUE.match(text, start)
            if value:
                shown += text[end:start] + self.hide(value[0])
                end = value.end()
        return shown + text[end:]

    def keys(self, lines: list[str]) -> frozenset[str]:
        """Return the keys whose values are secret only because they contain a known secret.

        In another release such a key may hold another secret, which nobody knows any more.
        """
        found: set[str] = set()
        above = ""
        for line in lines:
            begin = above if above and _continues(above, line) else line
            if self._is_needed(line):
                found.update(setting["key"].strip() for setting in _settings(begin))
            if line.strip() and not (above and _only_here_a_comment(above, line)):
                above = begin
        return frozenset(found)

    def _is_needed(self, line: str) -> bool:
        """Return whether a line without a mask of what we know would show a secret."""
        text = Mask(frozenset()).line(line) if self._shows(line) else ""
        return self._shows(text)

    def _shows(self, text: str) -> bool:
        return any(secret in text for secret in self.known)


def _settings(line: str) -> Iterator[re.Match[str]]:
    """Yield each way to read a line as a setting, the likeliest first."""
    yield from filter(None, (form.fullmatch(line) for form in (_DIRECTIVE, _SETTING)))


def _secret_setting(line: str, secret_keys: frozenset[str]) -> re.Match[str] | None:
    for found in _settings(line):
        if found["key"].strip() in secret_keys or is_secret(found["key"], found["value"]):
            return found
    return None


def _continues(above: str, line: str) -> bool:
    """Return whether a line goes on with the value of the setting above it."""
    # "#old = 1" and "# why" do not belong to the setting above them.
    usual = 2 if _only_here_a_comment(above, line) else 0
    return _margin(line) > _margin(above) + usual


def _only_here_a_comment(above: str, line: str) -> bool:
    return line.lstrip()[:1] in {"#", ";"} and above.lstrip()[:1] not in {"#", ";"}


def _margin(line: str) -> int:
    wide = line.expandtabs()
    return len(wide) - len(wide.lstrip(" #;"))


def known_secrets(paths: Iterable[Path]) -> frozenset[str]:
    """Return the secrets in ``paths`` that are readable and long enough, in each quoted form."""
    found = set()
    for path in paths:
        try:
            found.add(read_plainly(path).decode().strip())
        except (OSError, ServerError, UnicodeDecodeError):
            continue
    return frozenset[str]().union(*(spellings(s) for s in found if len(s) >= SHORTEST))


def spellings(secret: str) -> frozenset[str]:
    """Return the forms of a secret in an ini file: encoded for a URL or not, % doubled or not."""
    plain = {secret, urllib.parse.quote(secret, safe="")}
    return frozenset(plain | {text.replace("%", "%%") for text in plain})


# What differs.


def diff(releases: Releases, older: int, newer: int, secrets: Path) -> Iterator[str]:
    """Yield a unified diff of two releases.

    :param secrets: ``var/secrets``
    """
    manifests = {number: releases.manifest(number) for number in (older, newer)}
    held = {number: _files(manifest) for number, manifest in manifests.items()}
    found = changes(manifests[older], manifests[newer])
    mask = Mask(known_secrets(secrets.glob("*/*")))
    for path in sorted([*found.added, *found.removed, *found.changed]):
        one, other = (
            _File(f"{number}/{path}", releases.path(number) / path, held[number].get(path, ()))
            for number in (older, newer)
        )
        each = (releases.path(number) / path for number in releases.numbers())
        keys = frozenset[str]().union(*(mask.keys(_lines(file)) for file in each))
        yield from _differences(one, other, mask, keys)


@dataclass(frozen=True)
class _File:
    """A file of a release."""

    name: str
    path: Path
    said: tuple[str, ...]
    """Its entry in the manifest, the mode last; empty if there is none."""

    def lines(self) -> list[str]:
        if not self.said and not os.path.lexists(self.path):
            return []
        return _lines(self.path)


def _lines(path: Path) -> list[str]:
    """Return the lines of a file, or a line that says what it is or why it cannot be read."""
    try:
        if path.is_symlink():
            return [f"link to {os.readlink(path)}"]
        return read_plainly(path).decode().splitlines()
    except UnicodeDecodeError:
        return [NOT_TEXT]
    except ServerError:
        return [f"{UNREAD}not a regular file)"]
    except OSError as error:
        return [f"{UNREAD}{error.strerror})"]


def _differences(
    older: _File, newer: _File, mask: Mask, secret_keys: frozenset[str]
) -> Iterator[str]:
    before, after = older.lines(), newer.lines()
    one, other = (list(mask.lines(lines, secret_keys)) for lines in (before, after))
    lines = list(difflib.unified_diff(one, other, older.name, newer.name, lineterm=""))
    yield from lines or [_unseen(older, newer, before)]


def _unseen(older: _File, newer: _File, lines: list[str]) -> str:
    """Return how files with the same ``lines`` differ."""
    if not (older.said and newer.said):
        return f"{(older if older.said else newer).name} is only in the manifest of that release"
    pair = f"{older.name} and {newer.name}"
    if older.said[:-1] == newer.said[:-1]:
        return f"{pair} differ only in mode"
    if lines == [NOT_TEXT]:
        return f"binary files {pair} differ"
    if lines and lines[0].startswith(UNREAD):
        return f"{pair} differ in content, and {lines[0].strip('()')}"
    return f"{pair} differ only in line ends"
